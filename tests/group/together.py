"""Nodes of one cluster in one process: everything but the server's ports."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from tests.cluster.transport.nodes import HOST
from tests.group.places import Places
from tsdb.cluster.group.group import Group
from tsdb.cluster.group.joining import Place
from tsdb.cluster.node import Node
from tsdb.storage.options import Options

OPTIONS = Options(disk_reserve=0)


class OffClock:
    """A clock that is wrong by as much as the test says."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)


class Together(Places):
    """Nodes by their place. One of little ``patience_s`` is for who wants to see it give up."""

    def __init__(self, folder: Path, options: Options = OPTIONS) -> None:
        super().__init__(folder)
        self.options = options
        self.nodes: dict[int, Node] = {}
        self.lost_node_s = 900.0
        self.rows_port: int | None = 0
        """Of nodes that are started from now on."""
        self.clocks = [OffClock() for _ in self.ports]
        self.left: dict[int, list[str]] = {}
        """Why the process of a node would have ended."""

    def place(self, place: int, join: int | None = None, patience_s: float = 30.0) -> Place:
        name = self.certified(place)
        return Place(
            host=HOST,
            port=self.ports[place - 1],
            address=self.address(place),
            certificate=self.folder / f"{name}.crt",
            key=self.folder / f"{name}.key",
            authority=self.folder / "ca.crt",
            join=None if join is None else self.address(join),
            lost_s=4.0,
            lost_node_s=self.lost_node_s,
            patience_s=patience_s,
            rows_port=self.rows_port,
        )

    def found(self) -> None:
        Node.open(self.data(1), self.options).close()

    def start(self, place: int, *, join: int | None = None, patience_s: float = 30.0) -> Node:
        self.data(place).mkdir(exist_ok=True)
        where = self.place(place, join, patience_s)
        left = self.left[place] = []
        options = replace(self.options, clock=self.clocks[place - 1], leave=left.append, abort=left.append)
        node = Node.open(self.data(place), options, lambda engine, options: Group(engine, options, where))
        self.nodes[place] = node
        return node

    def stop(self, place: int) -> None:
        self.nodes.pop(place).close()

    def wipe(self, place: int) -> None:
        shutil.rmtree(self.data(place))

    def end(self) -> None:
        for place in list(self.nodes):
            self.stop(place)
