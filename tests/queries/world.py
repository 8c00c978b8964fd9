"""A server over two series and a keyless one, the same rows in dictionaries, and random steps that both take.

The rows of the dictionaries become plain tables of a DuckDB that knows nothing of us: what a query gives there is what
it must give here, whatever the server did meanwhile (flushes, compactions, restarts, deletions, late points).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import psycopg
import pyarrow as pa

from tsdb.clock import SystemClock
from tsdb.cluster.node import Node
from tsdb.session import SessionFactory, Sessions
from tsdb.sql.query import Queries
from tsdb.storage.options import Options
from tsdb.wire import Listener

START = dt.datetime(2026, 3, 28, 20, tzinfo=dt.UTC)  # clocks change in Europe in the following night
STEP = dt.timedelta(seconds=30)
SPAN = 900  # steps that points are within
HOSTS = [f"h{i}" for i in range(6)]
REGIONS = ["eu", "us", "", None]

SCHEMA = """
CREATE TABLE cpu (time timestamptz, host text, f float8, i int8, b bool, t text, PRIMARY KEY (host, time));
ALTER TABLE cpu ADD COLUMN region text TAG;
CREATE TABLE mem (time timestamptz, host text, used float8, free int8, PRIMARY KEY (host, time));
CREATE TABLE events (time timestamptz, host text TAG, level int8, message text);
"""
_TIME = ("time", pa.timestamp("us", "UTC"))
PLAIN = {
    "cpu": pa.schema(
        [
            _TIME,
            ("host", "string"),
            ("f", "float64"),
            ("i", "int64"),
            ("b", "bool"),
            ("t", "string"),
            ("region", "string"),
        ]
    ),
    "mem": pa.schema([_TIME, ("host", "string"), ("used", "float64"), ("free", "int64")]),
    "events": pa.schema([_TIME, ("host", "string"), ("level", "int64"), ("message", "string")]),
}
KEYS = {"cpu": ("time", "host", "region"), "mem": ("time", "host"), "events": ()}

Row = dict[str, Any]


class World:
    """``rows`` by table; ``ours`` and ``plain`` run a statement and give its rows."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = Random(seed)
        self.directory = directory / f"world{seed}"
        self.options = Options(disk_reserve=0, rows_per_block=self.random.choice([16, 100, 1000, 16_384]))
        self.rows: dict[str, list[Row]] = {name: [] for name in PLAIN}
        self.keyed: dict[str, dict[tuple[Any, ...], Row]] = {"cpu": {}, "mem": {}}
        self.steps: list[str] = []
        self.now = 0
        self._changed = set(PLAIN)
        self._duckdb = duckdb.connect(":memory:", config={"threads": 1})
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self._queries = Queries(memory_limit_bytes=1 << 28, threads=2, spill_directory=directory / "spill")
        self._pool = ThreadPoolExecutor(4, "session")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()
        self._open()

    def _open(self) -> None:
        new = not self.directory.exists()
        self._node = Node.open(self.directory, self.options)
        self._listener = Listener(SessionFactory(self._node, self._queries, self._pool, SystemClock(), Sessions()))
        asyncio.run_coroutine_threadsafe(self._listener.start(), self._loop).result(10)
        where = f"host=127.0.0.1 port={self._listener.port} user=tester dbname=tsdb sslmode=disable"
        self.connection = psycopg.connect(where, autocommit=True)
        if new:
            self.connection.execute(SCHEMA.encode())

    def _close(self) -> None:
        self.connection.close()
        asyncio.run_coroutine_threadsafe(self._listener.close(0.2), self._loop).result(10)
        self._node.close()

    def close(self) -> None:
        """End both."""
        self._close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._pool.shutdown()
        self._queries.close()
        self._duckdb.close()

    def ours(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement here."""
        return self.connection.execute(text.encode()).fetchall()

    def plain(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement on the plain tables."""
        self._load()
        return self._fetch(text)

    def _fetch(self, text: str) -> list[tuple[Any, ...]]:
        # Not fetchall(): that wants pytz for times.
        columns = self._duckdb.sql(text).to_arrow_table().columns
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def _load(self) -> None:
        for name in sorted(self._changed):
            points = pa.Table.from_pylist(self.visible(name), schema=PLAIN[name])
            self._duckdb.register("points", points)
            self._duckdb.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM points")
            self._duckdb.unregister("points")
        self._changed.clear()

    def visible(self, name: str) -> list[Row]:
        """The rows of a table as they are now."""
        return list(self.keyed[name].values()) if name in self.keyed else self.rows[name]

    def step(self) -> None:
        """Change something, or the way it is kept."""
        steps = {
            self.write: 10, self.write_late: 3, self.checkpoint: 4, self.vacuum: 1, self.delete: 2, self.update: 1,
            self.restart: 0.7,
        }  # fmt: skip
        chosen = self.random.choices(list(steps), list(steps.values()))[0]
        self.steps.append(chosen.__name__)
        chosen()

    def write(self) -> None:
        """The next points of every host, in most cases."""
        name = self.random.choice(["cpu", "cpu", "mem", "events"])
        length = self.random.choice([1, 20, 150])
        hosts = self.random.sample(HOSTS, self.random.choice([2, 6]))
        self._insert(name, [self._row(name, self.now + at, host) for at in range(length) for host in hosts])
        self.now = (self.now + length) % SPAN

    def write_late(self) -> None:
        """A few points of any time, of which some are there already."""
        name = self.random.choice(list(PLAIN))
        count = self.random.choice([1, 5, 40])
        self._insert(
            name, [self._row(name, self.random.randrange(SPAN), self.random.choice(HOSTS)) for _ in range(count)]
        )

    def _row(self, name: str, at: int, host: str) -> Row:
        chance = self.random
        time = START + at * STEP

        def maybe(value: Any) -> Any:
            return None if chance.random() < 0.12 else value

        if name == "cpu":
            region = REGIONS[hash((host, at // 300)) % 4] if chance.random() < 0.05 else REGIONS[int(host[1:]) % 4]
            values = {"f": maybe(chance.randrange(-400, 400) / 4), "i": maybe(chance.randrange(-50, 1000))}
            more = {"b": maybe(chance.random() < 0.5), "t": maybe(chance.choice(["a", "b", "it's", ""]))}
            return {"time": time, "host": host, **values, **more, "region": region}
        if name == "mem":
            return {"time": time, "host": host, "used": maybe(chance.randrange(800) / 8), "free": maybe(at % 97)}
        # Nothing tells equal rows of a keyless table apart, but no query here depends on it.
        level, message = maybe(chance.randrange(5)), maybe(chance.choice(["up", "down"]))
        return {"time": time, "host": maybe(host), "level": level, "message": message}

    def _insert(self, name: str, rows: list[Row]) -> None:
        self._changed.add(name)
        if name in self.keyed:
            table, merged = self.keyed[name], {tuple(row[key] for key in KEYS[name]): row for row in rows}
            rows = list(merged.values())
            for key, row in merged.items():
                old = table.get(key)
                table[key] = row if old is None else {c: old[c] if v is None else v for c, v in row.items()}
        else:
            self.rows[name] += rows
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))

    def checkpoint(self) -> None:
        """Flush the head to blocks."""
        self.connection.execute(b"CHECKPOINT")

    def vacuum(self) -> None:
        """Compact."""
        self.connection.execute(b"CHECKPOINT")
        self.connection.execute(f"VACUUM {self.random.choice(list(PLAIN))}".encode())

    def restart(self) -> None:
        """Close the store and open it again."""
        self._close()
        self._open()

    def condition(self, name: str) -> str:
        """What some rows of a table satisfy, in words that mean the same to both."""
        chance = self.random
        at = START + chance.randrange(SPAN) * STEP
        field = {"cpu": "i", "mem": "free", "events": "level"}[name]
        return chance.choice([
            f"time < '{at - 300 * STEP}'",
            f"time >= '{at}' AND time < '{at + 40 * STEP}'",
            f"host = '{chance.choice(HOSTS)}' AND time > '{at}'",
            f"host LIKE 'h{chance.randrange(6)}%' AND time < '{at - 500 * STEP}'",
            f"{field} = {chance.randrange(5)}",
            f"host IN ('h1', 'h4') AND {field} > 900",
        ])  # fmt: skip

    def delete(self) -> None:
        """By time, tags or values."""
        name = self.random.choice(list(PLAIN))
        where = self.condition(name)
        columns = ", ".join(KEYS[name] or PLAIN[name].names)
        gone = self.plain(f"SELECT {columns} FROM {name} WHERE {where}")
        if name in self.keyed:
            for key in gone:
                del self.keyed[name][key]
        else:
            self._load()
            kept = self._fetch(f"SELECT * FROM {name} WHERE ({where}) IS NOT TRUE")
            self.rows[name] = [dict(zip(self.rows[name][0], row, strict=True)) for row in kept] if kept else []
        self._changed.add(name)
        done = self.connection.execute(f"DELETE FROM {name} WHERE {where}".encode())
        assert done.rowcount == len(gone), where

    def update(self) -> None:
        """Some rows' field, whose NULLs stay."""
        where = self.condition("cpu")
        keys = self.plain(f"SELECT time, host, region FROM cpu WHERE {where}")
        for key in keys:
            row = self.keyed["cpu"][key]
            self.keyed["cpu"][key] = {**row, "i": None if row["i"] is None else row["i"] + 1, "t": "changed"}
        self._changed.add("cpu")
        done = self.connection.execute(f"UPDATE cpu SET i = i + 1, t = 'changed' WHERE {where}".encode())
        assert done.rowcount == len(keys), where
