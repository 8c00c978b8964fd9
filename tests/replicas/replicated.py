"""A cluster of three nodes in one process, and a database that all of them have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from tests.cluster.model import scan
from tests.cluster.setting import COLUMNS, SECOND, START
from tests.fixtures.waiting import until
from tests.group.together import Together
from tsdb.cluster.group.control import Done, Replicate
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.node import Node
from tsdb.errors import TsdbError
from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import CreateDatabase, CreateSeries, Database, Series
from tsdb.model.store import Written

HOUR = 3600 * SECOND

R = TypeVar("R", bound="Replicated")


class Replicated:
    """A cluster of three and a database that all of them have."""

    def __init__(self, together: Together) -> None:
        self.together = together

    @property
    def nodes(self) -> dict[int, Node]:
        return self.together.nodes

    def any(self) -> Node:
        return next(iter(self.nodes.values()))

    def database(self, node: Node, name: str = "shared") -> Database:
        return node.catalog.find(name)

    def series(self, node: Node) -> Series:
        return self.database(node).find("cpu")

    def leader(self) -> Node:
        """The node that leads all of it in an active epoch, by what it knows itself."""

        def look() -> Node | None:
            for node in self.nodes.values():
                number = self.database(node).number
                own = [each for each in node.metadata.all(LocationRecord) if each.database == number]
                if own and all(each.leader == node.engine.node and each.active_epoch == each.epoch for each in own):
                    return node
            return None

        found = until(look)
        assert found is not None
        return found

    def follower(self) -> Node:
        leader = self.leader()
        return next(node for node in self.nodes.values() if node is not leader)

    def points(self, node: Node, values: list[int], start: int = START) -> Points:
        series = self.series(node)
        return Points(
            series,
            np.arange(len(values), dtype=np.int64) * 60 * SECOND + start,
            [encode_tagset([(series.column("host").number, "a")])],
            np.zeros(len(values), np.int32),
            {series.column("v").number: pa.array(values, pa.int64())},
        )

    def write(self, values: list[int], start: int = START) -> None:
        """As a client that tries again."""

        def try_it() -> Written | None:
            node = self.leader()
            try:
                return node.write(self.database(node), [self.points(node, values, start)]).result(30)
            except TsdbError:
                return None

        written = until(try_it)
        assert written is not None
        assert written.points == len(values)

    def read(self) -> list[int]:
        def try_it() -> list[int] | None:
            try:
                return self.values(self.leader().view())
            except TsdbError:
                return None

        found = until(lambda: None if (values := try_it()) is None else (values,))
        assert found is not None
        return found[0]

    def values(self, view: Any) -> list[int]:
        try:
            return [seen.fields[0] for seen in scan(view, self.series(self.any()))]
        finally:
            view.close()

    def everywhere(self, expected: list[int]) -> None:
        """All nodes come to have these points."""
        for node in self.nodes.values():
            until(lambda: sorted(self.values(node.engine.view())) == sorted(expected))  # noqa: B023


@contextlib.contextmanager
def replicated(together: Together, kind: type[R]) -> Iterator[R]:
    """Three nodes of it, and the database ``shared`` with the series ``cpu``."""
    together.found()
    together.start(1)
    try:
        together.start(2, join=1)
        together.start(3, join=1)
        # While the third has no vote, two can do without nobody.
        until(lambda: together.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
        assert isinstance(together.ask(2, Replicate(3)), Done)
        cluster = kind(together)
        node = together.nodes[1]
        node.change(CreateDatabase("shared"))
        node.change(CreateSeries("shared", "cpu", COLUMNS, True))
        for each in together.nodes.values():
            until(lambda: "cpu" in cluster.database(each).series if "shared" in each.catalog.databases else False)  # noqa: B023
        yield cluster
    finally:
        together.end()
