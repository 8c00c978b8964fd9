"""Batches of long texts are bounded by their bytes, however few rows they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.cluster.setting import SECOND, START
from tsdb.cluster.node import Node
from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import ColumnDefinition, CreateSeries, Role
from tsdb.model.store import ScanRequest
from tsdb.storage.batches import JOINED_BYTES
from tsdb.storage.options import Options
from tsdb.types import TEXT, TIMESTAMPTZ

HOSTS, ROWS, TEXT_BYTES = 16, 2, 800_000
COLUMNS = (
    ColumnDefinition("time", Role.TIME, TIMESTAMPTZ),
    ColumnDefinition("host", Role.TAG, TEXT),
    ColumnDefinition("message", Role.FIELD, TEXT),
)


def test_a_batch_holds_a_few_megabytes_of_texts(tmp_path: Path) -> None:
    node = Node.open(tmp_path, Options(disk_reserve=0, rows_per_block=ROWS, compaction=False))
    try:
        node.change(CreateSeries("tsdb", "logs", COLUMNS, True))
        database = node.catalog.find("tsdb")
        series = database.find("logs")
        tags = [encode_tagset([(series.column("host").number, f"h{i}")]) for i in range(HOSTS)]
        texts = pa.array([str(i % 10) * TEXT_BYTES for i in range(HOSTS * ROWS)], pa.string())
        tagset = np.repeat(np.arange(HOSTS, dtype=np.int32), ROWS)
        times = START + np.tile(np.arange(ROWS), HOSTS) * SECOND
        message = series.column("message").number
        node.write(database, [Points(series, times, tags, tagset, {message: texts})]).result(30)
        node.flush()
        view = node.view()
        try:
            batches = list(view.scan(ScanRequest(series, (message,))).batches)
        finally:
            view.close()
        assert sum(map(len, batches)) == HOSTS * ROWS
        assert max(batch.nbytes for batch in batches) <= JOINED_BYTES
        assert len(batches) < HOSTS
    finally:
        node.close()
