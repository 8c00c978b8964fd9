"""Random histories on a node and on a store in plain Python: equal after every step, with and without pruning."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster import newest_model
from tests.cluster.model import (
    Key,
    ModelSeries,
    ModelVersion,
    Tags,
    fields_of,
    key_deletion,
    points_of,
    random_value,
    scan,
    tag_predicate,
    values_of,
)
from tests.cluster.slots import cut_buckets
from tests.compaction.disk import NO_STRAYS, strays
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.errors import PointsBeyondRetention
from tsdb.model.schema import (
    AddColumn,
    AlterColumnType,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    Database,
    DropColumn,
    DropSeries,
    Role,
    Series,
    SetRetention,
)
from tsdb.model.store import RangeDeletion, TagMatch, TimeRange
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN, WINDOW_NS
from tsdb.storage.options import Options
from tsdb.storage.summaries import layout
from tsdb.types import BOOL, FLOAT8, INT8, TEXT, TIMESTAMPTZ, UINT8

DAY_NS = 86_400 * 10**9
HOSTS: list[str | None] = ["a", "b", "c", "ä long name", None]
START_NS = 1_700_000_000_000_000_000


def series_definitions(database: str) -> list[CreateSeries]:
    time = ColumnDefinition("time", Role.TIME, TIMESTAMPTZ)
    host, rack = ColumnDefinition("host", Role.TAG, TEXT), ColumnDefinition("rack", Role.TAG, TEXT)
    fields = tuple(
        ColumnDefinition(name, Role.FIELD, kind)
        for name, kind in (("f", FLOAT8), ("i", INT8), ("u", UINT8), ("b", BOOL), ("t", TEXT))
    )
    return [
        CreateSeries(database, "keyed", (time, host, rack, *fields), keyed=True),
        CreateSeries(database, "events", (time, host, *fields[:3]), keyed=False),
        CreateSeries(database, "places", (host, *fields[3:]), keyed=True, reference=True),
    ]


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CELL_ROWS", 2)


class History:
    """A node, its model, and the steps both take."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = Random(seed)
        self.directory = directory / "data"
        self.clock = ManualClock(START_NS)
        self.options = Options(
            clock=self.clock,
            disk_reserve=0,
            head_bytes=self.random.choice([30_000, 1 << 20]),
            rows_per_block=self.random.choice([3, 50, 65_536]),
            ops_kept=self.random.choice([0, 0, 5]),
            compaction=self.random.random() < 0.5,
            compaction_quiet=0,
            hot_columns_bytes=self.random.choice([0, 4_000, 1 << 20]),
        )
        self.node = Node.open(self.directory, self.options)
        self.node.change(CreateDatabase("db"), *series_definitions("db"))
        if seed % 2:
            # Of points that are a day late or less, and other ones of those that are not.
            bucket = START_NS // BUCKET_NS
            for name in ("keyed", "events"):
                cut_buckets(self.node, "db", name, bucket - 300, 4)
                cut_buckets(self.node, "db", name, bucket + 1, 3)
        self.models = {name: ModelSeries(s.keyed) for name, s in self.database.series.items()}
        self.copies = 0
        self.sequences: dict[str, int] = {}

    @property
    def database(self) -> Database:
        return self.node.catalog.find("db")

    def tags_of(self, series: Series) -> Tags:
        chosen = [(tag.number, self.random.choice(HOSTS)) for tag in series.tags]
        return tuple(sorted((number, value) for number, value in chosen if value is not None))

    def time_of(self, series: Series) -> int:
        if series.reference:
            return 0
        random = self.random
        late = random.choice([0, 0, 0, 0, WINDOW_NS, DAY_NS, 9 * DAY_NS])
        before_1970 = random.random() < 0.03
        at = -self.random.randrange(WINDOW_NS) if before_1970 else START_NS - late + random.randrange(60) * 10**10
        return at if random.random() < 0.8 else at + random.randrange(3)

    def write(self) -> None:
        name = self.random.choice(sorted(self.models))
        series = self.database.find(name)
        versions = [
            ModelVersion(
                self.tags_of(series),
                self.time_of(series),
                {c.number: random_value(self.random, c.kind) for c in fields_of(series) if self.random.random() < 0.7},
            )
            for _ in range(self.random.choice([1, 1, 2, 10, 60]))
        ]
        if self.random.random() < 0.5:
            versions.sort(key=lambda v: v.time)
        floor = series.floor_ns
        written = self.node.write(self.database, [points_of(series, versions)])
        if floor is not None and any(v.time < floor for v in versions):
            with pytest.raises(PointsBeyondRetention):
                written.result(10)
            return
        assert written.result(10).points == len(versions)
        self.models[name].versions += versions

    def delete_range(self) -> None:
        name = self.random.choice(sorted(self.models))
        series = self.database.find(name)
        low = self.random.choice([NS_MIN, self.time_of(series)])
        lengths = [self.random.randrange(WINDOW_NS), self.random.randrange(BUCKET_NS)]
        high = self.random.choice([NS_MAX, self.time_of(series), *(low + length for length in lengths)])
        deletion = RangeDeletion(series, TimeRange(low, high), tag_predicate(self.random, series, HOSTS))
        self.node.delete(self.database, deletion).result(10)
        self.models[name].delete_range(deletion)

    def delete_keys(self) -> None:
        name = self.random.choice(sorted(self.models))
        series, model = self.database.find(name), self.models[name]
        keys: list[Key] = [(v.tags, v.time) for v in model.versions]
        keys = [*self.random.sample(keys, min(len(keys), 5)), (self.tags_of(series), self.time_of(series))]
        self.node.delete(self.database, key_deletion(series, keys)).result(10)
        model.delete_keys(keys)

    def delete_sequences(self) -> None:
        """One of several keyless points with equal tags and time, named by its sequence."""
        series, model = self.database.find("events"), self.models["events"]
        view = self.node.view()
        seen = scan(view, series)
        view.close()
        if not seen:
            return
        gone = self.random.choice(seen)
        self.node.delete(self.database, key_deletion(series, [(gone.tags, gone.time)], [gone.sequence])).result(10)
        found = next(
            v for v in model.versions
            if (v.tags, v.time, values_of(v.fields, series)) == gone.row
        )  # fmt: skip
        model.versions.remove(found)

    def flush(self) -> None:
        self.node.flush()

    def compact(self) -> None:
        chosen = [series for series in self.database.series.values() if self.random.random() < 0.7]
        self.node.compact(chosen, full=self.random.random() < 0.2)

    def restart(self) -> None:
        self.node.close()
        self.clock.time_ns += 400 * 10**9
        self.node = Node.open(self.directory, self.options)
        self.check_disk()

    def check_disk(self) -> None:
        """Values without a block would be there for ever."""
        if not self.options.compaction:
            assert strays(self.node) == NO_STRAYS

    def crash(self) -> None:
        """Go on with a copy of the directory as it was while the node ran."""
        self.copies += 1
        copy = self.directory.parent / f"copy{self.copies}"
        copy_at_one_moment(self.directory, copy)
        self.node.close()
        self.directory = copy
        self.node = Node.open(copy, self.options)
        self.check_disk()

    def change_schema(self) -> None:
        random = self.random
        name = random.choice(["keyed", "events"])
        series = self.database.find(name)
        number = self.node.catalog.next_column
        fields = fields_of(series)
        choice = random.randrange(6)
        if choice == 0:
            role, kind = random.choice([(Role.TAG, TEXT), (Role.FIELD, FLOAT8), (Role.FIELD, INT8)])
            self.node.change(AddColumn("db", name, ColumnDefinition(f"c{number}", role, kind)))
        elif choice == 1 and len(fields) > 2:
            self.node.change(DropColumn("db", name, random.choice(fields).name))
        elif choice == 2 and fields:
            field = random.choice(fields)
            to = {"INT8": FLOAT8, "BOOL": TEXT}.get(field.kind.name)
            if to is not None and not field.former:
                self.node.change(AlterColumnType("db", name, field.name, to))
        elif choice == 3 and random.random() < 0.3:
            floor = START_NS - random.choice([8, 5, 1]) * DAY_NS
            self.node.change(SetRetention("db", name, None, floor))
        elif choice == 4 and random.random() < 0.3:
            again = next(s for s in series_definitions("db") if s.name == name)
            self.node.change(DropSeries("db", name), again)
            self.models[name] = ModelSeries(again.keyed)

    def step(self) -> str:
        steps = {
            self.write: 12, self.delete_range: 2, self.delete_keys: 2, self.delete_sequences: 1,
            self.flush: 2, self.compact: 1, self.restart: 0.7, self.crash: 0.7, self.change_schema: 1.5,
        }  # fmt: skip
        step = self.random.choices(list(steps), list(steps.values()))[0]
        step()
        return step.__name__

    def check(self) -> None:
        view = self.node.view()
        try:
            for name, model in self.models.items():
                self.check_series(name, self.database.find(name), model, view)
        finally:
            view.close()

    def check_series(self, name: str, series: Series, model: ModelSeries, view: Any) -> None:
        expected = Counter(model.visible(series))
        seen = scan(view, series)
        assert Counter(s.row for s in seen) == expected
        assert len({s.sequence for s in seen}) == len(seen)
        assert Counter(s.row for s in scan(view, series, prune=False, sequences=False)) == expected
        low, high = self.time_of(series), self.time_of(series) + WINDOW_NS // 2
        host = self.random.choice(HOSTS)
        tags = (TagMatch(series.tags[0].number, lambda value: value == host),)
        for prune in (True, False):
            found = scan(
                view, series, range=TimeRange(low, high), tags=tags, prune=prune,
                sequences=self.random.random() < 0.5,
            )  # fmt: skip
            in_range = {row: n for row, n in expected.items() if low <= row[1] < high}
            wanted = {r: n for r, n in in_range.items() if dict(r[0]).get(series.tags[0].number) == host}
            counted = Counter(s.row for s in found)
            assert all(counted[row] == n for row, n in wanted.items())
            assert not counted - Counter(in_range)
        newest = newest_model.random_newest(self.random, series)
        chosen, span = ((), TimeRange()) if self.random.random() < 0.5 else (tags, TimeRange(low, high))
        rows = [r for r in expected.elements() if span.low <= r[1] < span.high]
        if chosen:
            rows = [r for r in rows if dict(r[0]).get(series.tags[0].number) == host]
        newest_found = scan(view, series, newest=newest, range=span, tags=chosen, sequences=self.random.random() < 0.5)
        newest_model.check(newest, rows, (s.row for s in newest_found))


def copy_at_one_moment(directory: Path, copy: Path) -> None:
    """Copy it as it was at one moment: again, if threads in the background have changed a file meanwhile."""

    def files() -> list[tuple[Path, int, int]]:
        stats = [(path, path.stat()) for path in sorted(directory.rglob("*")) if path.is_file()]
        return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]

    for _ in range(100):
        try:
            before = files()
            shutil.copytree(directory, copy)
            if files() == before:
                return
        except (OSError, shutil.Error):
            pass
        shutil.rmtree(copy, ignore_errors=True)
        time.sleep(0.05)
    raise AssertionError(f"{directory} never came to rest")


def run(directory: Path, seed: int, steps: int) -> None:
    history = History(directory, seed)
    done: list[str] = []
    try:
        for _ in range(steps):
            done.append(history.step())
            history.check()
    except BaseException as error:
        error.add_note(f"seed {seed} after {len(done)} steps: {', '.join(done[-12:])}")
        raise
    finally:
        history.node.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_node_equals_a_plain_store_after_every_step(tmp_path: Path, seed: int) -> None:
    run(tmp_path, seed, 45)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 140))
def test_a_node_equals_a_plain_store_after_every_step_for_long(tmp_path: Path, seed: int) -> None:
    run(tmp_path, seed, 200)
