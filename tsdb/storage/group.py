"""Group commit: the appends that waited while the last group was written become one batch with one sync.

Each append is checked as a whole before its first op is in the batch, so that what is refused leaves nothing. An append
that was made for rows somebody saw is checked against all that comes before it: what is staged of the same series is
written first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsdb.errors import FeatureNotSupported, SerializationFailure, TsdbError
from tsdb.model.points import Points
from tsdb.model.store import Producer, Written
from tsdb.storage.append import Append, Delete, Seen, Write
from tsdb.storage.apply import Appended, points_with_sequences, rows_of
from tsdb.storage.checks import check_empty, check_own, check_step, database_of_step
from tsdb.storage.committer import Pending
from tsdb.storage.free import check_free
from tsdb.storage.op import OpKind
from tsdb.storage.producers import scoped
from tsdb.storage.rows import Rows
from tsdb.storage.shard import Shard
from tsdb.storage.tombstone import AnyTombstone
from tsdb.storage.unchanged import is_unchanged


@dataclass(slots=True)
class _Staged:
    """An append in the batch: what it will be when the batch is durable."""

    future: Future[Any]
    answer: Written | None
    points: list[tuple[Points, Any]]
    tombstones: list[AnyTombstone]


def commit(shard: Shard, group: Sequence[Pending[Any]]) -> None:
    """Make a group durable, then visible, then answer; what is refused is answered at once."""
    staging = _Staging(shard)
    room = shard.room.takes_writes(shard.heads_bytes)
    only_deletions = not room and shard.room.takes_deletions()
    for pending in group:
        assert isinstance(pending.work, Append)
        try:
            if not room and not (only_deletions and pending.work.only_deletes):
                shard.room.refused += 1
                raise shard.room.full(shard.heads_bytes)
            staging.add(pending.work, pending.future)
        except TsdbError as error:
            pending.future.set_exception(error)
    staging.finish()


class _Staging:
    """The batch of a group as it grows."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._batch = shard.rocks.batch()
        self._staged: list[_Staged] = []
        self._series: set[int] = set()

    def add(self, append: Append, future: Future[Any]) -> None:
        """Put the ops of an append into the batch. What is wrong with it is raised before the first."""
        check_own(self._shard, append)
        if append.producer is not None and append.steps:
            producer = scoped(database_of_step(self._shard, append.steps[0]), append.producer)
            self._shard.producers.check(producer)
            if self._shard.producers.knows(producer):
                self._staged.append(_Staged(future, Written(append.points, duplicate=True), [], []))
                return
        self._shard.log.check_counters(append.counters)
        for step in append.steps:
            check_step(self._shard, step)
        seen = any(each.rows.series.number in self._series for each in append.seen)
        seen = seen or any(each.series.number in self._series for each in append.empty)
        if seen or any(self._may_meet(each.points) for each in append.news):
            self.finish()
        check_empty(self._shard, append.empty)
        check_seen(self._shard, append.seen)
        check_free(self._shard, append.news)
        staged = _Staged(future, None, [], [])
        for step in append.steps:
            if isinstance(step, Delete):
                self._delete(step, staged, append.producer)
            else:
                self._write(step, staged, append.producer)
        if staged.answer is None or len(append.steps) > 1:
            staged.answer = Written(append.points, counter=self._shard.log.counter)
        self._staged.append(staged)

    def _may_meet(self, points: Points) -> bool:
        """Whether something that is staged may have what new points have to themselves."""
        number = points.series.number
        if number not in self._series:
            return False
        if any(not unique.key for unique in points.series.uniques):
            return True
        ours = frozenset(points.tagsets)
        staged = (other for done in self._staged for other, _ in done.points if other.series.number == number)
        return any(not ours.isdisjoint(other.tagsets) for other in staged)

    def finish(self) -> None:
        """What is staged becomes durable and visible, and its writers are answered."""
        shard = self._shard
        if len(self._batch):
            shard.write_durably(self._batch)
            self._batch = shard.rocks.batch()
        shard.producers.commit()
        rows: dict[int, list[Rows]] = {}
        for done in self._staged:
            for points, sequences in done.points:
                number = points.series.number
                index = shard.index_of(number)
                rows.setdefault(number, []).append(
                    rows_of(points.times, points.tagsets, points.tagset, points.fields, sequences, index)
                )
        shard.apply(rows, [stone for done in self._staged for stone in done.tombstones])
        shard.count(rows)
        for done in self._staged:
            done.future.set_result(done.answer)
        self._staged = []
        self._series.clear()

    def _write(self, work: Write, staged: _Staged, whole: Producer | None) -> None:
        """``whole``: the number of the append that this is a step of."""
        self._number(whole, work)
        new = [True] * len(work.parts)
        if work.producer is not None and work.batches:
            producer = scoped(database_of_step(self._shard, work), work.producer)
            new = self._shard.producers.new_parts(producer, [(p.location.low, p.location.high) for p in work.parts])
        appended: list[Appended] = []
        for part, body, checksum, is_new in zip(work.parts, work.bodies, work.checksums, new, strict=True):
            if is_new:
                rows = sum(len(work.batches[p.batch]) if p.rows is None else len(p.rows) for p in part.pieces)
                by = work.producer or whole
                first = self._shard.log.append(
                    self._batch, OpKind.WRITE, part.location, body,
                    rows=rows, counters=rows, producer=by, checksum=checksum,
                )  # fmt: skip
                appended.append(Appended(part, first))
                self._shard.written.count(part.location.number, rows)
        duplicate = work.producer is not None and bool(work.parts) and not appended
        staged.answer = Written(work.points, duplicate)
        if appended:
            staged.points += points_with_sequences(work, appended)
            self._series.update(points.series.number for points in work.batches)

    def _number(self, whole: Producer | None, work: Write | Delete) -> None:
        if whole is not None:
            parts = [(part.location.low, part.location.high) for part in work.parts]
            self._shard.producers.new_parts(scoped(database_of_step(self._shard, work), whole), parts)

    def _delete(self, work: Delete, staged: _Staged, whole: Producer | None) -> None:
        self._number(whole, work)
        for part, body in zip(work.parts, work.bodies, strict=True):
            first = self._shard.log.append(
                self._batch, OpKind.DELETE, part.location, body, rows=part.rows, counters=1, producer=whole
            )
            staged.tombstones += [replace(stone, counter=first) for stone in part.tombstones]
            self._series.update(stone.series for stone in part.tombstones)


def check_seen(shard: Shard, seen: Iterable[Seen], *, anew: bool = False) -> None:
    """Raises SerializationFailure if rows that an append was made for are not what they were.

    Most often nothing happened to their series since their first moment; only otherwise is it looked at. ``anew``: then
    the rows themselves are read, since counters of nodes that led one after the other say nothing about the time.
    """
    for each in seen:
        number = each.rows.series.number
        found = shard.version.catalog.series_by_number.get(number)
        merges = found is not None and found[1].keyed and each.exactly
        last = shard.changed(number) if merges else shard.deleted(number)
        first = min(each.rows.moments, key=lambda moment: moment.number, default=None)
        if first is not None and first.number >= last:
            continue
        known = not anew and first is not None and shard.knows_deletions_since(number, first.counter)
        if not is_unchanged(shard.view(), each, first.counter if known and first is not None else None):
            raise SerializationFailure(
                "could not serialize access due to concurrent update",
                detail=f'A row of "{each.rows.series.name}" was changed or deleted after it was read.',
                hint="The transaction might succeed if retried.",
            )


def check_once(seen: Iterable[Seen]) -> None:
    """Raises FeatureNotSupported if a row is replaced twice: statements of a block do not see each other's effects."""
    named: dict[int, list[Seen]] = {}
    for each in seen:
        if each.exactly and each.replaced and each.rows.sequences is not None:
            named.setdefault(each.rows.series.number, []).append(each)
    for several in named.values():
        if len(several) < 2:
            continue
        sequences = np.concatenate([each.rows.sequences for each in several if each.rows.sequences is not None])
        if len(np.unique(sequences)) < len(sequences):
            raise FeatureNotSupported(
                f'a row of "{several[0].rows.series.name}" is changed twice in one transaction',
                hint="Commit between the two statements.",
            )
