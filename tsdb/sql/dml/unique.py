"""The rows that a statement writes into a reference table, against those that have the same unique values already.

What is pending in the transaction counts as well: the view shows it. Of the rows of one statement the first has a
value, the next is too many. The log looks again at what came meanwhile, by ``demand``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import ConfigurationLimitExceeded, UniqueViolation
from tsdb.model import uniqueness
from tsdb.model.points import Points
from tsdb.model.schema import Role, Series
from tsdb.model.store import LOOKED_NOWHERE, SEQUENCE, FieldBound, Free, KeyDeletion, ScanRequest, TagMatch, View
from tsdb.model.uniqueness import Mask, Unique
from tsdb.sql.dml.keys import among, existing_rows

# Keys that one statement may write: each is remembered until its end.
KEYS_MAX = 10_000_000
# Values of a tag by which its rows are looked up; more, and all are read.
_VALUES_MAX = 10_000

Rows = npt.NDArray[np.int64]


@dataclass
class UniqueRows:
    """The unique values of a statement's rows so far. Feed its points in order.

    ``numbered``: the statement may be a retry whose rows are there already, so that only the log, which knows that,
    looks at what is stored.
    """

    series: Series
    view: View
    numbered: bool = False
    _tagsets: set[bytes] = field(default_factory=set)
    _values: dict[Unique, list[list[pa.Array]]] = field(default_factory=dict)

    @property
    def uniques(self) -> tuple[Unique, ...]:
        return self.series.uniques

    def check(self, points: Points, replaced: KeyDeletion | None = None) -> None:
        """Take points; ``replaced`` are rows that they take the place of. Raises UniqueViolation for the first row."""
        found = self.take(points, replaced)
        if found is not None:
            raise found[1]

    def take(self, points: Points, replaced: KeyDeletion | None = None) -> tuple[int, UniqueViolation] | None:
        """The same, or which row is not free."""
        held = self._repeated if self.numbered else partial(self._taken, replaced=replaced)
        taken = [held(unique, points) for unique in self.uniques]
        first = [(int(np.flatnonzero(mask)[0]), at) for at, mask in enumerate(taken) if mask.any()]
        if first:
            row, at = min(first)
            unique = self.uniques[at]
            one = points.take(np.array([row]))
            values = [one.column(number)[0].as_py() for number in unique.columns]
            return row, uniqueness.violation(self.series, unique, values)
        self._remember(points)
        return None

    def met(self, points: Points, arbiters: Sequence[Unique]) -> Mask:
        """The rows that meet another, in the view or an earlier batch, in one of ``arbiters``."""
        found = np.zeros(len(points), np.bool_)
        for unique in arbiters:
            found |= self._existing(unique, points, None)
        return found

    def repeats(self, points: Points, unique: Unique) -> bool:
        """Whether two of the points have one value."""
        return bool(self._repeated(unique, points).any())

    def kept(self, points: Points, arbiters: Sequence[Unique]) -> Rows:
        """ON CONFLICT DO NOTHING: the rows that meet no other; of the statement's own rows the first is kept."""
        kept = np.flatnonzero(~self.met(points, arbiters))
        if len(arbiters) == 1:
            return kept[~self._repeated(arbiters[0], points.take(kept))]
        return self._first_of_each(points, kept, arbiters)

    def demand(self, points: Points, *, again: bool = False) -> Free:
        """What must hold when the points are logged."""
        if self.numbered:
            return Free(np.full(len(points), LOOKED_NOWHERE, np.int64), np.full(len(points), again), ())
        moment = self.view.moment
        return Free(np.full(len(points), moment.counter), np.full(len(points), again), (moment,))

    def _first_of_each(self, points: Points, kept: Rows, arbiters: Sequence[Unique]) -> Rows:
        """A row that is left out for one arbiter's sake takes nothing from the others, so rows go one by one; only
        those that have something in common with another need to."""
        chosen = points.take(kept)
        columns = [_values_of(unique, chosen) for unique in arbiters]
        masks = [self._repeated(unique, chosen) for unique in arbiters]
        if not np.any(masks):
            return kept
        seen: list[set[tuple[object, ...]]] = [set() for _ in arbiters]
        found: list[int] = []
        rows = zip(*(zip(*(array.to_pylist() for array in arrays), strict=True) for arrays in columns), strict=True)
        for row, values in enumerate(rows):
            if all(None in each or each not in known for each, known in zip(values, seen, strict=True)):
                found.append(int(kept[row]))
                for each, known in zip(values, seen, strict=True):
                    known.add(each)
        return np.array(found, np.int64)

    # --- what has a value already ---

    def _taken(self, unique: Unique, points: Points, replaced: KeyDeletion | None) -> Mask:
        return self._existing(unique, points, replaced) | self._repeated(unique, points)

    def _existing(self, unique: Unique, points: Points, replaced: KeyDeletion | None) -> Mask:
        """In the view, or in an earlier batch of the statement."""
        if unique.key:
            found = existing_rows(self.view, points)
            if replaced is not None:
                found &= ~among(points, replaced.tagsets, replaced.tagset, replaced.times)
            if self._tagsets:
                mine = np.fromiter((each in self._tagsets for each in points.tagsets), np.bool_, len(points.tagsets))
                found |= mine[points.tagset]
            return found
        ours = _values_of(unique, points)
        found = self._stored(unique, ours, None if replaced is None else replaced.sequences)
        for earlier in self._values.get(unique, ()):
            found |= uniqueness.matched(ours, earlier) >= 0
        return found

    def _repeated(self, unique: Unique, points: Points) -> Mask:
        """Which rows have the values of an earlier one of the same points."""
        if not unique.key:
            return uniqueness.repeated(_values_of(unique, points))
        later = np.ones(len(points), np.bool_)
        later[np.unique(points.tagset, return_index=True)[1]] = False
        return later

    def _stored(self, unique: Unique, ours: list[pa.Array], replaced: npt.NDArray[np.int64] | None) -> Mask:
        found = np.zeros(len(ours[0]), np.bool_)
        series = self.series
        values = dict(zip(unique.columns, ours, strict=True))
        if any(array.null_count == len(array) for array in ours):
            return found
        tags, bounds = _conditions(series, {} if unique.nulls_equal else values)
        request = ScanRequest(series, (*unique.columns, SEQUENCE), tags=tags, bounds=bounds)
        if not self.view.may_meet(request, ours).any():
            return found
        for batch in self.view.scan(request).batches:
            if replaced is not None:
                stays = ~np.isin(batch.column(len(ours)).to_numpy(zero_copy_only=False), replaced)
                batch = batch.filter(pa.array(stays))
            if batch.num_rows:
                theirs = uniqueness.comparable(series, unique.columns, batch.columns[: len(ours)])
                found |= uniqueness.matched(ours, theirs) >= 0
        return found

    def _remember(self, points: Points) -> None:
        for unique in self.uniques:
            if unique.key:
                self._tagsets.update(points.tagsets)
                if len(self._tagsets) > KEYS_MAX:
                    raise ConfigurationLimitExceeded(
                        f"one statement writes at most {KEYS_MAX} rows into a table with a primary key",
                        hint="Write fewer rows with a statement.",
                    )
            else:
                self._values.setdefault(unique, []).append(_values_of(unique, points))


def _values_of(unique: Unique, points: Points) -> list[pa.Array]:
    return uniqueness.comparable(points.series, unique.columns, map(points.column, unique.columns))


def _conditions(series: Series, values: Mapping[int, pa.Array]) -> tuple[tuple[TagMatch, ...], tuple[FieldBound, ...]]:
    """What a row with one of the values has: a scan leaves out the others where that is easy."""
    tags: list[TagMatch] = []
    bounds: list[FieldBound] = []
    for number, array in values.items():
        column = series.by_number[number]
        if column.role is Role.TAG and not uniqueness.has_spellings(column):
            known = frozenset(array.to_pylist()) if len(array) <= _VALUES_MAX else None
            if known is not None:
                tags.append(TagMatch(number, known.__contains__, known))
        elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            there = [value for value in array.to_pylist() if value is not None and value == value]
            if len(there) == len(array) - array.null_count:
                bounds.append(FieldBound(number, min(there), max(there)))
    return tuple(tags), tuple(bounds)
