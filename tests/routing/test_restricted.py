"""A scan of some of a database's locations gives the points of these, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from tests.cluster.setting import SECOND, START, Setting
from tsdb.cluster.routing.restricted import restricted
from tsdb.model.ring import bucket_hash, location_of
from tsdb.model.store import TIME_NS, Newest, ScanRequest, TagMatch, TimeRange
from tsdb.model.summaries import COUNT, CellRequest
from tsdb.model.time import BUCKET_NS


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    path: Path = tmp_path_factory.mktemp("restricted")
    with Setting(path) as made:
        made.write(list(range(3_000)), step=40 * SECOND)
        made.node.flush()
        made.write(list(range(2_000)), step=40 * SECOND, host="b")
        yield made


@pytest.mark.parametrize("seed", range(8))
def test_any_split_of_the_locations_gives_each_point_once(setting: Setting, seed: int) -> None:
    random = Random(seed)
    database, series = setting.database, setting.series
    locations = random.sample(database.locations, len(database.locations))
    cut = random.randrange(1, len(locations))
    field, tag = series.column("v").number, series.column("host").number
    columns = random.choice([(TIME_NS, tag, field), (tag, TIME_NS), (field,), ()])
    low = START + random.randrange(50_000) * SECOND
    request = ScanRequest(
        series,
        columns,
        TimeRange(low, low + random.choice([600, 40_000]) * SECOND),
        random.choice([(), (TagMatch(tag, lambda value: value == "b"),)]),
        newest=random.choice([None, Newest(3)]),
        cells=random.choice([None, CellRequest(BUCKET_NS, 0, {field: (COUNT,)})]),
    )
    view = setting.node.view()
    try:
        whole = sorted(rows_of(view.scan(replace(request, newest=None, cells=None)).batches))
        halves = [restricted(view.scan, request, database, part) for part in (locations[:cut], locations[cut:])]
        found = [rows_of(half.batches) for half in halves]
        assert sorted(row for half in found for row in half) == whole
        assert all(half.schema.names == [str(key) for key in columns] for half in halves)
        if columns[:1] == (TIME_NS,):
            ours = {each.number for each in locations[:cut]}
            for (time, *_), is_ours in [(row, half is found[0]) for half in found for row in half]:
                place = bucket_hash(database.number, series.number, int(time) // BUCKET_NS)
                assert (location_of(database.locations, place).number in ours) == is_ours
    finally:
        view.close()


def rows_of(batches: Iterable[pa.RecordBatch]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for batch in batches:
        columns = [map(str, column.to_pylist()) for column in batch.columns]
        found += list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows
    return found
