"""Random histories of a table with continuous views, and what a read of them must give at every step.

A view's rows are the plain query's, but for buckets that begin before the table's floor: those are what they were when
the floor rose over them. Crashes are copies of the data directory, taken while the store is open and perhaps in the
middle of a refresh: what a power cut would leave.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

from tests.cluster.random_node import MINUTE, World
from tests.cluster.setting import START
from tests.cluster.test_histories import copy_at_one_moment
from tests.sql.answers import ask
from tsdb.cluster.node import Node
from tsdb.errors import PointsBeyondRetention, QueryCanceled
from tsdb.model.schema import CreateSeries, Series, SetContinuous, SetRetention
from tsdb.model.store import RangeDeletion, View
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.context import Context
from tsdb.sql.ddl import create_table_as
from tsdb.sql.ddl import statement as ddl
from tsdb.sql.query import Queries
from tsdb.sql.statement import Ddl, parse, split

QUERIES = {
    "by_host": """SELECT time_bucket('5 minutes', time) AS bucket, host, count(*) AS n, sum(i) AS total, max(f) AS top,
                  max(time) AS newest FROM cpu GROUP BY bucket, host""",
    "hourly": """SELECT time_bucket('1 hour', time) AS bucket, count(f) AS n, min(f) AS least, avg(i) AS mean
                 FROM cpu WHERE f > 0 OR host IS NULL GROUP BY 1""",
    "shifted": """SELECT host, time_bucket('7 minutes', time, "offset" => '2 minutes') AS bucket, f > 10 AS high,
                  count(*) FILTER (WHERE i > 20) AS n FROM cpu GROUP BY host, bucket, high""",
    "daily": """SELECT time_bucket('1 day', time, 'Europe/Berlin') AS bucket, host, count(*) AS n, max(i) AS most
                FROM cpu GROUP BY 1, 2""",
    "monthly": "SELECT time_bucket('1 month', time) AS bucket, count(DISTINCT host) AS n FROM cpu GROUP BY 1",
}
DAY = 1440 * MINUTE

Row = tuple[Any, ...]


class History(World):
    """``step`` changes something, ``check`` compares."""

    def __init__(self, path: Path, queries: Queries, seed: int, *, keyed: bool, only: str = "") -> None:
        super().__init__(path, seed, keyed=keyed, odd=0.05)
        self.queries = queries
        self.refreshes = Refreshes()
        self.copies = 0
        self.kept: dict[str, list[Row]] = {name: [] for name in QUERIES}
        self.views = {name: text for name, text in QUERIES.items() if not only or name == only}
        self.floor = -(2**63)
        for name, text in self.views.items():
            self.create(name, text)

    # --- SQL ---

    @property
    def now_ns(self) -> int:
        return max(self.clock, START + 300 * MINUTE) + self.random.choice([0, 0, 2 * DAY, 40 * DAY])

    def context(self) -> Context:
        return Context(self.name, now_us=self.now_ns // 1000, settings={"timezone": "UTC"})

    def create(self, name: str, text: str) -> None:
        statement = parse(split(f"CREATE MATERIALIZED VIEW {name} WITH (continuous) AS {text} WITH NO DATA")[0])
        assert isinstance(statement, Ddl)
        plan = ddl.plan(statement, self.context(), self.node.catalog)
        assert plan.source is not None
        made = create_table_as.prepare(self.queries, plan.source, self.context(), self.node.catalog)
        assert isinstance(made.change, CreateSeries)
        self.node.change(made.change)

    def rows(self, text: str) -> list[Row]:
        view = self.node.view()
        try:
            return self.rows_in(view, text)
        finally:
            view.close()

    def rows_in(self, view: View, text: str) -> list[Row]:
        found = ask(self.queries, view, text, (), Context(self.name, settings={"timezone": "UTC"}))[1]
        return sorted((tuple(map(_plain, row)) for row in found), key=repr)

    def view(self, name: str) -> Series:
        return self.database.find(name)

    # --- steps ---

    def refresh(self) -> None:
        refresher = Refresher(self.node, self.queries, self.refreshes, self.context())
        refresher.refresh(self.view(self.random.choice(list(self.views))), lag=self.random.random() < 0.5)

    def interrupt(self) -> None:
        """A refresh that is given up somewhere, and perhaps a crash right then."""
        left = self.random.randrange(1, 6)

        def check() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise QueryCanceled("enough")

        refresher = Refresher(self.node, self.queries, self.refreshes, self.context(), check)
        with contextlib.suppress(QueryCanceled):
            refresher.refresh(self.view(self.random.choice(list(self.views))))
        if self.random.random() < 0.5:
            self.crash()

    def crash(self) -> None:
        self.copies += 1
        copy = self.path.parent / f"{self.path.name.split('-')[0]}-{self.copies}"
        copy_at_one_moment(self.path, copy)
        self.node.close()
        self.path = copy
        self.node = Node.open(copy, self.options)

    def compact(self) -> None:
        self.node.flush()
        self.node.compact([self.series], full=self.random.random() < 0.5)

    def truncate(self) -> None:
        self.node.delete(self.database, RangeDeletion(self.series)).result(60)

    def write_below(self) -> None:
        with contextlib.suppress(PointsBeyondRetention):
            self.write_late()

    def set_lag(self) -> None:
        name = self.random.choice(list(self.views))
        self.node.change(SetContinuous(self.name, name, lag_ns=self.random.choice([0, 10, 200]) * MINUTE))

    def raise_floor(self) -> None:
        """What is about to go stays in the views."""
        floor = (
            max(self.floor, START - 40 * MINUTE) + self.random.randrange(1, 60) * MINUTE + self.random.choice([0, 7])
        )
        if floor >= self.clock:
            return
        before = {name: self.rows(f"SELECT * FROM {name}") for name in self.views}
        refresher = Refresher(self.node, self.queries, self.refreshes, self.context())
        refresher.raise_floor(SetRetention(self.name, "cpu", None, floor))
        self.floor = self.series.floor_ns or self.floor
        for name, rows in before.items():
            self.kept[name] = [row for row in rows if self._bucket(name, row) < self.floor]

    def step(self) -> None:
        steps = {
            self.write: 6, self.write_below: 4, self.delete: 1.5, self.delete_keys: 1, self.refresh: 6,
            self.interrupt: 2, self.node.flush: 2, self.compact: 1, self.restart: 0.6, self.crash: 0.6,
            self.truncate: 0.1, self.set_lag: 0.3, self.raise_floor: 0.5,
        }  # fmt: skip
        self.random.choices(list(steps), list(steps.values()))[0]()

    # --- what must hold ---

    def check(self) -> None:
        for name, text in self.views.items():
            plain = [row for row in self.rows(text) if self._bucket(name, row) >= self.floor]
            assert self.rows(f"SELECT * FROM {name}") == sorted(plain + self.kept[name], key=repr), name

    def _bucket(self, name: str, row: Row) -> int:
        at = [c.name for c in self.view(name).columns].index("bucket")
        return int(row[at].timestamp()) * 10**9


def _plain(value: Any) -> Any:
    """NaN equals NaN; the last digits of a mean depend on the order of the rows."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else float(f"{value:.9g}")
    return value


def run(history: History, steps: int) -> None:
    """Its steps, with all reads checked after each."""
    try:
        for _ in range(steps):
            history.step()
            history.check()
    finally:
        history.node.close()
