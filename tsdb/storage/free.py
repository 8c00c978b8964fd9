"""Whether new points still have their unique columns' values to themselves, before they are logged.

Their statement looked at a version of the data; what came after it is looked at here, which is little: parts with
nothing newer are left out.

Of two sessions that insert one key at the same time the second one in the log is refused, whatever both saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import SerializationFailure, TsdbError
from tsdb.model import uniqueness
from tsdb.model.points import Points
from tsdb.model.schema import Role, Series
from tsdb.model.store import LOOKED_NOWHERE, MAY_MEET, Free
from tsdb.model.uniqueness import Unique
from tsdb.storage.append import NewPoints
from tsdb.storage.batches import Piece
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.rules import rules_of
from tsdb.storage.shard import Shard
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import AnyTombstone
from tsdb.storage.visibility import Visibility

Int64s = npt.NDArray[np.int64]


Removed = Mapping[int, Sequence[AnyTombstone]]
"""By series, what a commit takes away."""


def check_free(shard: Shard, news: Iterable[NewPoints], removed: Removed | None = None) -> None:
    """Raises UniqueViolation, SerializationFailure for the first point that would meet another.

    ``removed`` is what the same commit takes away: if it is given, all other rows count, whenever they were written.
    That is for locations that several nodes have, where counters say nothing about the time.
    """
    blind: dict[int, list[Points]] = {}
    for new in news:
        number = new.points.series.number
        found = shard.version.catalog.series_by_number.get(number)
        if found is None:
            continue
        if (new.free.since == LOOKED_NOWHERE).any():
            _check_each_other(found[1], new, blind.setdefault(number, []))
        elif min((moment.number for moment in new.free.moments), default=-1) >= shard.changed(number):
            continue
        if removed is None:
            _check(shard, found[1], new.points, new.free, _counters(new.free.since))
        else:
            database, series = found
            tagsets = shard.view().tagsets(number)
            gone = Visibility(database.number, series, rules_of(series, removed.get(number, ()), tagsets))
            _check(shard, series, new.points, new.free, np.where(new.free.since == MAY_MEET, MAY_MEET, 0), gone)


def _counters(since: Int64s) -> Int64s:
    return np.where(since == LOOKED_NOWHERE, 0, since)


def _check_each_other(series: Series, new: NewPoints, before: list[Points]) -> None:
    """Points of statements that did not look, not even at what their transaction had written."""
    for unique in series.uniques:
        columns = _values_of(unique, new.points)
        taken = uniqueness.repeated(columns)
        for points in before:
            taken |= uniqueness.matched(columns, _values_of(unique, points)) >= 0
        if taken.any():
            raise _error(series, unique, new.points, new.free, int(np.flatnonzero(taken)[0]))
    before.append(new.points)


def _check(
    shard: Shard, series: Series, points: Points, free: Free, seen: Int64s, gone: Visibility | None = None
) -> None:
    """``seen``: for each point the counter from after which a row would take its place; MAY_MEET: none does. What is
    ``gone`` does not either."""
    asked = seen >= 0
    if not asked.any():
        return
    since = int(seen[asked].min())
    view = shard.view()
    tagsets = view.tagsets(series.number)
    columns = {n for unique in series.uniques if not unique.key for n in unique.columns}
    fields = tuple(column.number for column in series.fields if column.number in columns)
    for piece in view.newer(series, fields, since):
        assert piece.sequences is not None
        counters = piece.sequences & COUNTER_MASK
        counts = np.ones(piece.rows, np.bool_)
        if gone is not None:
            assert piece.tagset is not None
            assert piece.times is not None
            hidden = gone.hidden(piece.tagset, piece.times, piece.sequences)
            counts = counts if hidden is None else ~hidden
        for unique in series.uniques:
            at = _key_places(points, piece, tagsets) if unique.key else _places(points, piece, tagsets, series, unique)
            taken = np.flatnonzero((at >= 0) & asked & counts[at] & (counters[at] > seen))
            if len(taken):
                raise _error(series, unique, points, free, int(taken[0]))


def _key_places(points: Points, piece: Piece, tagsets: TagSets) -> Int64s:
    """Where in the piece the points' keys are; all are at time 0."""
    assert piece.tagset is not None
    found = (tagsets.find(each) for each in points.tagsets)
    ids = np.array([-1 if known is None else known for known in found], np.int32)
    order = np.argsort(piece.tagset, kind="stable")
    at = np.minimum(np.searchsorted(piece.tagset[order], ids), piece.rows - 1)
    return np.where(piece.tagset[order[at]] == ids, order[at], -1)[points.tagset]


def _places(points: Points, piece: Piece, tagsets: TagSets, series: Series, unique: Unique) -> Int64s:
    theirs = [_column(piece, tagsets, series, number) for number in unique.columns]
    return uniqueness.matched(_values_of(unique, points), uniqueness.comparable(series, unique.columns, theirs))


def _values_of(unique: Unique, points: Points) -> list[pa.Array]:
    return uniqueness.comparable(points.series, unique.columns, map(points.column, unique.columns))


def _column(piece: Piece, tagsets: TagSets, series: Series, number: int) -> pa.Array:
    column = series.by_number[number]
    if column.role is Role.TAG:
        assert piece.tagset is not None
        return tagsets.dictionary(number, piece.tagset)
    found = piece.columns.get(number)
    return found if found is not None else pa.nulls(piece.rows, column.kind.arrow)


def _error(series: Series, unique: Unique, points: Points, free: Free, row: int) -> TsdbError:
    if free.again[row]:
        return SerializationFailure(
            "could not serialize access due to concurrent insert",
            detail=f'A row of "{series.name}" with the same values was written after the statement looked.',
            hint="The transaction might succeed if retried.",
        )
    one = points.take(np.array([row]))
    return uniqueness.violation(series, unique, [one.column(number)[0].as_py() for number in unique.columns])
