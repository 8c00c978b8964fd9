"""A node with one series of numbers, and random steps on it: minutes of hosts, late points, deletions, restarts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from tests.cluster.setting import START
from tests.cluster.slots import cut_buckets
from tsdb.cluster.node import Node
from tsdb.model.changes import SetRetention
from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import (
    AddColumn,
    AlterColumnType,
    ColumnDefinition,
    CreateSeries,
    Database,
    DropColumn,
    Role,
    Series,
)
from tsdb.model.store import KeyDeletion, RangeDeletion, TagIn, TimeRange
from tsdb.model.time import BUCKET_NS, NS_MIN
from tsdb.storage.options import Options
from tsdb.types import FLOAT8, INT8, TEXT, TIMESTAMPTZ, Kind

MINUTE = 60 * 10**9
HOSTS = "abcdef"
COLUMNS = (
    ColumnDefinition("time", Role.TIME, TIMESTAMPTZ),
    ColumnDefinition("host", Role.TAG, TEXT),
    ColumnDefinition("f", Role.FIELD, FLOAT8),
    ColumnDefinition("i", Role.FIELD, INT8),
)


class World:
    """A node with one series whose blocks are small. ``odd``: how often values are NaN, infinite or the widest;
    ``rows_per_block``: one of them; ``full``: from now on no value is absent."""

    name = "tsdb"

    def __init__(
        self, path: Path, seed: int, *, keyed: bool, odd: float = 0.2, rows_per_block: Sequence[int] = (8, 40, 200)
    ) -> None:
        self.odd = odd
        self.full = False
        self.random = Random(seed)
        self.path = path
        self.options = Options(disk_reserve=0, compaction=False, rows_per_block=self.random.choice(rows_per_block))
        self.node = Node.open(path, self.options)
        self.node.change(CreateSeries(self.name, "cpu", COLUMNS, keyed))
        self.clock = self.latest = START

    @property
    def database(self) -> Database:
        return self.node.catalog.find(self.name)

    @property
    def series(self) -> Series:
        return self.database.find("cpu")

    def tags(self, name: str | None) -> bytes:
        return encode_tagset([] if name is None else [(self.series.column("host").number, name)])

    def put(self, times: list[int], hosts: list[int]) -> None:
        floor = NS_MIN if self.series.floor_ns is None else self.series.floor_ns
        times = [max(time, floor) for time in times]
        random, rows = self.random, len(times)
        fields: dict[int, pa.Array] = {}
        for column in self.series.fields:
            if random.random() < 0.9 or self.full:
                holes = 0 if self.full else random.choice([0, 0, 0.2, 0.9])
                odd = random.random() < self.odd
                values = [None if random.random() < holes else value(random, column.kind, odd) for _ in range(rows)]
                fields[column.number] = pa.array(values, column.kind.arrow)
        tagsets = [self.tags(name) for name in [*HOSTS, None]]
        points = Points(self.series, np.array(times, np.int64), tagsets, np.array(hosts, np.int32), fields)
        self.node.write(self.database, [points]).result(60)
        self.latest = max(self.latest, *times)

    def write(self) -> None:
        """Some minutes of some hosts, mostly the next ones."""
        random = self.random
        minutes, hosts = random.choice([5, 30, 60]), random.sample(range(7), random.choice([1, 3, 7]))
        self.put(
            [self.clock + at * MINUTE for at in range(minutes) for _ in hosts],
            [h for _ in range(minutes) for h in hosts],
        )
        self.clock += minutes * MINUTE

    def write_late(self) -> None:
        random = self.random
        rows = random.choice([1, 2, 10])
        whens = [START + random.randrange(-30, 300) * MINUTE + random.choice([0, 0, 1000]) for _ in range(rows)]
        self.put(whens, [random.randrange(7) for _ in range(rows)])

    def delete(self) -> None:
        random, series = self.random, self.series
        low = START + random.randrange(300) * MINUTE
        names: tuple[frozenset[str | None], ...] = random.choice([(), (frozenset("a"),), (frozenset({"b", None}),)])
        tags = tuple(TagIn(series.column("host").number, each, random.random() < 0.3) for each in names)
        span = TimeRange(low, low + random.choice([1, 20]) * MINUTE)
        self.node.delete(self.database, RangeDeletion(series, span, tags)).result(60)

    def delete_keys(self) -> None:
        random = self.random
        times = np.array([START + random.randrange(300) * MINUTE for _ in range(3)], np.int64)
        tagsets = [self.tags(name) for name in HOSTS]
        chosen = np.array([random.randrange(6) for _ in range(3)], np.int32)
        self.node.delete(self.database, KeyDeletion(self.series, tagsets, chosen, times)).result(60)

    def change(self) -> None:
        name = self.random.choice(["f", "i"])
        if name not in self.series.by_name:
            kind = FLOAT8 if name == "f" else INT8
            self.node.change(AddColumn(self.name, "cpu", ColumnDefinition(name, Role.FIELD, kind)))
        elif self.random.random() < 0.5:
            self.node.change(DropColumn(self.name, "cpu", name))
        elif name == "i" and not self.series.column("i").former:
            self.node.change(AlterColumnType(self.name, "cpu", "i", FLOAT8))

    def write_again(self) -> None:
        """Some minutes once more, while somebody holds what he saw before: a block then has versions of one key."""
        self.write()
        view = self.node.view()
        moment = view.moment
        view.close()
        self.clock -= 5 * MINUTE
        self.write()
        self.node.flush()
        assert moment.counter >= 0

    def compact(self) -> None:
        self.node.compact([self.series], full=self.random.random() < 0.3)

    def forget(self) -> None:
        """Raise retention's floor."""
        floor = START + self.random.randrange(100) * MINUTE
        if floor > (self.series.floor_ns or NS_MIN):
            self.node.change(SetRetention(self.name, "cpu", None, floor))

    def cut(self, bits: int) -> None:
        """Cut buckets into slots, from the first on that is later than all that was written."""
        begins = [self.latest // BUCKET_NS, *(each.from_bucket for each in self.series.slots)]
        cut_buckets(self.node, self.name, "cpu", max(begins) + 1, bits)

    def restart(self) -> None:
        self.node.close()
        self.node = Node.open(self.path, self.options)

    def step(self) -> None:
        steps = {
            self.write: 8, self.write_late: 2, self.write_again: 0.5, self.node.flush: 4, self.delete: 0.4,
            self.delete_keys: 0.4, self.change: 0.3, self.restart: 0.4, self.compact: 1,
            self.forget: 0.15,
        }  # fmt: skip
        self.random.choices(list(steps), list(steps.values()))[0]()


def value(random: Random, kind: Kind, odd: bool) -> Any:
    if kind is Kind.INT8:
        return random.choice([2**63 - 1, -(2**63), -1]) if odd else random.randrange(-5, 100)
    # Eighths: their sums are the same in any order.
    return random.choice([math.nan, math.inf, -math.inf]) if odd else random.randrange(-500, 500) / 8
