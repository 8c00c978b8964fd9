"""A read of a continuous view is its plain query where locations of the database leave the node, and come again: their
points, and those of them that are stored buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.continuous.history import History, run
from tsdb.model.ring import Location
from tsdb.sql.query import Queries
from tsdb.storage.copies.sending import Tally, chunks_of
from tsdb.storage.engine import Engine


@pytest.fixture
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


class _Leaving(History):
    """Nothing is deleted while locations are gone, since others would do that for all of them; and there is no floor:
    what is stored of buckets before it would go with them."""

    gone: Sequence[Location] = ()

    def leave(self) -> None:
        self.source = self.path.parent / f"source-{self.copies}"
        self.copies += 1
        self.node.flush()
        self.node.engine.records.rocks.checkpoint(self.source)  # type: ignore[attr-defined]
        locations = self.database.locations
        first = self.random.randrange(len(locations))
        self.gone = locations[first : first + self.random.choice([1, 8, 32])]
        engine, number = self.node.engine, self.database.number
        engine.call(lambda: engine.mask_locations(number, self._numbers))

    def come_again(self) -> None:
        engine, database = self.node.engine, self.database
        self.node.compact([*database.series.values()])
        assert not engine.is_masked(database.number, self._numbers)
        with Engine.open(self.source, self.options) as source:
            view, arriving, tally = source.view(), engine.arriving(), Tally()
            for chunk in chunks_of(view, database, self._numbers, tally):
                arriving.take(chunk)
            arriving.check(tally.chunks, tally.rows, tally.digest)
            # As at a leader, which has counted on, and may have deleted what nobody here knows of.
            last = max(source.call(lambda: source.last_counter), engine.call(lambda: engine.last_counter)) + 1
            view.close()

        def install() -> None:
            arriving.check_tagsets()
            arriving.lacks_deletions(database.number, last, self._numbers)
            batch = engine.records.batch()
            arriving.put(batch)
            engine.records.write(batch, sync=True)
            arriving.installed()

        engine.call(install)
        self.gone = ()

    def raise_floor(self) -> None: ...

    @property
    def _numbers(self) -> set[int]:
        return {each.number for each in self.gone}

    def step(self) -> None:
        if not self.gone:
            self.leave() if self.random.random() < 0.2 else super().step()
            return
        steps = {
            self.write: 4, self.write_below: 3, self.node.flush: 2, self.compact: 1, self.restart: 0.6,
            self.crash: 0.6, self.come_again: 3, self.refresh: 2,
        }  # fmt: skip
        self.random.choices(list(steps), list(steps.values()))[0]()


def _run(path: Path, queries: Queries, seed: int, steps: int) -> None:
    only = "by_host" if seed % 3 else "hourly"
    run(_Leaving(path / "node", queries, seed, keyed=seed % 2 == 0, only=only), steps)


@pytest.mark.parametrize("seed", [4, 6])
def test_reads_are_the_plain_query_while_locations_leave_and_come(tmp_path: Path, queries: Queries, seed: int) -> None:
    _run(tmp_path, queries, seed, 14)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 140))
def test_reads_are_the_plain_query_in_long_histories(tmp_path: Path, queries: Queries, seed: int) -> None:
    _run(tmp_path, queries, seed, 120)
