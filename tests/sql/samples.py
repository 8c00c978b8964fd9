"""Two series with the values that queries stumble over: NULLs, absent tags, times before 1970, equal times."""

from __future__ import annotations

import random

import pyarrow as pa

from tests.sql.memory_view import MemoryView, table_of
from tsdb.model import schema
from tsdb.model.schema import AddColumn, Catalog, ColumnDefinition, CreateDatabase, CreateSeries, Role
from tsdb.types import BOOL, DATE, FLOAT8, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ, UINT8

BASE_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00:00 UTC
EARLY_NS = (-1, -1000, -1001, 0, 1, 999, 1000, -300_000_000_000, -300_000_000_001)


def catalog() -> Catalog:
    time = ColumnDefinition("time", Role.TIME, TIMESTAMPTZ, not_null=True)
    host, region = ColumnDefinition("host", Role.TAG, TEXT), ColumnDefinition("region", Role.TAG, TEXT)
    cpu = (
        time, host, region, ColumnDefinition("usage", Role.FIELD, FLOAT8), ColumnDefinition("n", Role.FIELD, INT8),
        ColumnDefinition("ok", Role.FIELD, BOOL), ColumnDefinition("note", Role.FIELD, TEXT),
        ColumnDefinition("big", Role.FIELD, UINT8), ColumnDefinition("day", Role.FIELD, DATE),
        ColumnDefinition("price", Role.FIELD, NUMERIC, (10 << 16 | 2) + 4), ColumnDefinition("small", Role.FIELD, INT4),
    )  # fmt: skip
    mem = (time, host, ColumnDefinition("used", Role.FIELD, FLOAT8), ColumnDefinition("Free", Role.FIELD, INT8))
    return schema.apply(
        Catalog(),
        [
            CreateDatabase("tsdb"),
            CreateSeries("tsdb", "cpu", cpu, keyed=True, key=("host", "region", "time")),
            CreateSeries("tsdb", "mem", mem, keyed=True, key=("host", "time")),
            CreateSeries("tsdb", "Mixed", (time,), keyed=False),
            AddColumn("tsdb", "Mixed", ColumnDefinition("v", Role.FIELD, FLOAT8)),
        ],
    )


def view(rows: int = 500, seed: int = 7, batch_rows: int = 100) -> MemoryView:
    made, chance = catalog(), random.Random(seed)
    times = [BASE_NS + chance.randrange(0, 7200) * 1_000_000_000 + chance.randrange(0, 3) for _ in range(rows)]
    times[: len(EARLY_NS)] = EARLY_NS[:rows]

    def maybe(value: object) -> object:
        return None if chance.random() < 0.1 else value

    hosts = [maybe(f"host_{chance.randrange(8)}") for _ in times]
    cpu = {
        "host": pa.array(hosts, pa.string()),
        "region": pa.array([maybe(chance.choice(["eu", "us", "", "a_b", "100%"])) for _ in times], pa.string()),
        "usage": pa.array([maybe(round(chance.uniform(0, 100), 2)) for _ in times], pa.float64()),
        "n": pa.array([maybe(chance.randrange(-5, 50)) for _ in times], pa.int64()),
        "ok": pa.array([maybe(chance.random() < 0.5) for _ in times], pa.bool_()),
        "note": pa.array([maybe(chance.choice(["a", "b", "it's", "x\\y"])) for _ in times], pa.string()),
        "big": pa.array([maybe(2**64 - 1 - chance.randrange(5)) for _ in times], pa.uint64()),
        "day": pa.array([maybe(20_000 + chance.randrange(5)) for _ in times], pa.int32()).cast(pa.date32()),
        "price": pa.array([maybe(chance.randrange(10_000)) for _ in times], pa.int64()).cast(pa.decimal128(21, 2)),
        "small": pa.array([maybe(chance.randrange(100)) for _ in times], pa.int32()),
    }
    mem = {
        "host": pa.array([maybe(f"host_{chance.randrange(8)}") for _ in times], pa.string()),
        "used": pa.array([maybe(round(chance.uniform(0, 10), 1)) for _ in times], pa.float64()),
        "Free": pa.array([maybe(chance.randrange(100)) for _ in times], pa.int64()),
    }
    tables = dict(
        [
            table_of(made, "tsdb", "cpu", times, cpu),
            table_of(made, "tsdb", "mem", [t + 500 for t in times], mem),
            table_of(made, "tsdb", "Mixed", times[:3], {"v": pa.array([1.0, 2.0, 3.0])}),
        ]
    )
    return MemoryView(made, tables, batch_rows)
