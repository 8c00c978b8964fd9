"""A node with one series, and points for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from tests.cluster.model import Seen, scan
from tests.cluster.slots import cut_buckets
from tsdb.cluster.node import Node
from tsdb.model.points import Points, encode_tagset
from tsdb.model.ring import Slots
from tsdb.model.schema import ColumnDefinition, CreateSeries, Database, Role, Series
from tsdb.storage.options import Options
from tsdb.types import INT8, TEXT, TIMESTAMPTZ

SECOND = 10**9
START = 1_700_000_000 * SECOND
COLUMNS = (
    ColumnDefinition("time", Role.TIME, TIMESTAMPTZ),
    ColumnDefinition("host", Role.TAG, TEXT),
    ColumnDefinition("v", Role.FIELD, INT8),
)


class Setting:
    """A node with the series ``cpu`` (time, tag host, field v) in the database ``tsdb``. Its buckets are cut into
    ``slots`` before anything is written."""

    def __init__(self, path: Path, *, keyed: bool = True, slots: Sequence[Slots] = (), **options: Any) -> None:
        self.path = path
        self.options = Options(**{"disk_reserve": 0, **options})
        self.node = Node.open(path, self.options)
        if "cpu" not in self.database.series:
            self.node.change(CreateSeries("tsdb", "cpu", COLUMNS, keyed))
            for each in slots:
                cut_buckets(self.node, "tsdb", "cpu", each.from_bucket, each.bits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.node.close()

    def reopen(self) -> None:
        self.node.close()
        self.node = Node.open(self.path, self.options)

    @property
    def database(self) -> Database:
        return self.node.catalog.find("tsdb")

    @property
    def series(self) -> Series:
        return self.database.find("cpu")

    def points(
        self, values: Sequence[int | None], *, start: int = START, step: int = SECOND, host: str = "a"
    ) -> Points:
        """One point a ``step`` of one host."""
        return Points(
            self.series,
            np.arange(len(values), dtype=np.int64) * step + start,
            [encode_tagset([(self.series.column("host").number, host)])],
            np.zeros(len(values), np.int32),
            {self.series.column("v").number: pa.array(values, pa.int64())},
        )

    def write(self, values: Sequence[int | None], **where: Any) -> None:
        assert self.node.write(self.database, [self.points(values, **where)]).result(10).points == len(values)

    def seen(self, **request: Any) -> list[Seen]:
        view = self.node.view()
        try:
            return sorted(scan(view, self.series, **request), key=lambda s: (s.time, s.sequence))
        finally:
            view.close()

    def values(self) -> list[int]:
        return [seen.fields[0] for seen in self.seen()]

    def metric(self, name: str) -> float:
        return self.node.engine.metrics()[name]
