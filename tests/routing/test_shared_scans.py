"""Two nodes that have all points and share the locations: what they say together is what one of them says of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.cluster.random_node import World
from tests.sql.answers import ask
from tests.sql.test_random_statements import bag
from tests.sql.test_scans_of_locations import UNPRUNED, cell_rows, statement
from tsdb.cluster.routing.arrow import cells_of, cells_of_groups, decoded, encoded
from tsdb.cluster.routing.fragment import batches_of
from tsdb.model.ring import Intervals, intervals_of
from tsdb.model.store import Scan, ScanRequest, ScanStatistics, View
from tsdb.model.summaries import SummaryCells
from tsdb.sql.query import Queries
from tsdb.storage.batches import Output
from tsdb.storage.tagsets import TagSetIndex

__all__ = ["cell_rows"]


class Shared:
    """As ``ScatterView`` reads: one part of the ring here, the other as another node sends it."""

    def __init__(self, view: View, own: Intervals, other: Intervals) -> None:
        self._view = view
        self._own = own
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def scan(self, request: ScanRequest) -> Scan:
        own = self._view.scan(replace(request, ring=self._own))
        other = self._view.scan(replace(request, ring=self._other))
        sent = [(encoded(batch), is_cells) for batch, is_cells in batches_of(other, request)]

        def cells() -> Iterator[SummaryCells]:
            if own.groups is not None:
                yield cells_of_groups(own.groups)
            yield from own.cells
            yield from (cells_of(decoded(body)) for body, is_cells in sent if is_cells)

        def batches() -> Iterator[pa.RecordBatch]:
            yield from own.batches
            yield from (decoded(body) for body, is_cells in sent if not is_cells)

        schema = Output(request, TagSetIndex().snapshot()).schema if own.groups is not None else own.schema
        return Scan(schema, batches(), ScanStatistics(), cells())


@pytest.mark.usefixtures("cell_rows")
@pytest.mark.parametrize("keyed", [True, False])
def test_shares_of_a_scan_are_the_scan(tmp_path: Path, keyed: bool) -> None:
    queries = Queries(memory_limit_bytes=1 << 30, threads=2)
    world = World(tmp_path, 3, keyed=keyed, odd=0.0)
    random = world.random
    try:
        for at in range(24):
            world.full = random.random() < 0.5
            world.step()
            if at % 4 != 3 or not {"f", "i"} <= set(world.series.by_name):
                continue
            order = random.sample(world.database.locations, 32)
            cut = random.choice([1, 8, 16, 24])
            view = world.node.view()
            try:
                for _ in range(5):
                    text = statement(random, keyed=keyed)
                    shared = Shared(view, intervals_of(order[:cut]), intervals_of(order[cut:]))
                    assert bag(ask(queries, shared, text)[1]) == bag(ask(queries, view, text, context=UNPRUNED)[1]), (
                        text
                    )
            finally:
                view.close()
    finally:
        world.node.close()
        queries.close()
