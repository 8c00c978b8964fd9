"""Changes of a series' slots: into how many places the points of a bucket go (``tsdb.model.places``).

Slots hold from a bucket on in which there is no point yet, so that a point has all its versions in one location. That
there is none is for the leaders of the locations to say: a wish is entered first, from which on they take no points
for these buckets, and is settled when all of them have answered.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.errors import (
    FeatureNotSupported,
    InvalidParameterValue,
    ObjectNotInPrerequisiteState,
    ProgramLimitExceeded,
)
from tsdb.model.catalog import Series
from tsdb.model.changes import SetSlots, SettleSlots
from tsdb.model.draft import Draft
from tsdb.model.ring import Slots
from tsdb.model.time import BUCKET_NS, NS_MIN

SLOTS_MAX = 256
CHANGES_MAX = 1_000
BUCKETS_AHEAD = 2
"""Slots begin with the next bucket but one: points of that time, which are refused meanwhile, are of the future, or of
a wrong clock."""
_FIRST_BUCKET = NS_MIN // BUCKET_NS


def first_slots(slots: int) -> tuple[Slots, ...]:
    """Of a series that has no points."""
    return () if slots == 1 else (Slots(_FIRST_BUCKET, _bits(slots)),)


def set_slots(draft: Draft, change: SetSlots) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    if series.reference:
        raise FeatureNotSupported(f'table "{series.name}" has no time column, so it can have no slots')
    settled = _settled(series)
    if settled and change.from_bucket <= settled[-1].from_bucket:
        raise ObjectNotInPrerequisiteState(
            f'the slots of "{series.name}" were changed just now', hint="Try again in some minutes."
        )
    if len(settled) >= CHANGES_MAX:
        raise ProgramLimitExceeded(f'the slots of "{series.name}" were changed {CHANGES_MAX} times: no more')
    wish = Slots(change.from_bucket, _bits(change.slots), settled=False)
    draft.put_series(database, replace(series, slots=(*settled, wish)))


def settle_slots(draft: Draft, change: SettleSlots) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    wish = series.slots[-1] if series.slots else None
    if wish is None or wish.settled or wish.from_bucket != change.from_bucket:
        raise ObjectNotInPrerequisiteState(f'somebody else has changed the slots of "{series.name}"')
    settled = _settled(series)
    done = settled if change.dropped else (*settled, replace(wish, settled=True, counter=change.counter))
    draft.put_series(database, replace(series, slots=done))


def _settled(series: Series) -> tuple[Slots, ...]:
    return tuple(each for each in series.slots if each.settled)


def _bits(slots: int) -> int:
    if not 1 <= slots <= SLOTS_MAX or slots & slots - 1:
        raise InvalidParameterValue(f"slots {slots} is no power of two from 1 to {SLOTS_MAX}")
    return slots.bit_length() - 1
