"""What must hold of a write or a deletion when it is logged: what it names is there, and what it brings may come.

Asked in the committer's thread, before the first op of an append: what is refused leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tsdb.errors import (
    CannotConnectNow,
    ConfigurationLimitExceeded,
    ObjectNotInPrerequisiteState,
    PointsBeyondRetention,
    SerializationFailure,
    UndefinedColumn,
    UndefinedTable,
)
from tsdb.model.places import places_in
from tsdb.model.points import Points
from tsdb.model.refreshing import Held
from tsdb.model.schema import Series
from tsdb.model.store import RangeDeletion
from tsdb.model.time import BUCKET_NS, instant_text
from tsdb.storage.append import Append, Step, Write
from tsdb.storage.producers import scoped
from tsdb.storage.shard import Shard


class ReplicatedNow(CannotConnectNow):
    """Nothing of it is done: what it is to is shared with other nodes, or will be at once, and goes another way."""


def check_own(shard: Shard, append: Append) -> None:
    """Raises ReplicatedNow for what does not belong into the logs of this node alone (any more)."""
    shared, coming = shard.log.shared, shard.producers.stopped
    steps = append.steps
    if shared and any(part.location.number in shared for step in steps for part in step.parts):
        raise ReplicatedNow("the database was replicated while it was written to", hint="Try again.")
    if coming and any(append.producer or (isinstance(step, Write) and step.producer) for step in steps):
        numbered = {database_of_step(shard, step) for step in steps if not isinstance(step, Write) or step.batches}
        if not numbered.isdisjoint(coming):
            raise ReplicatedNow("the database is being replicated, and numbered batches wait for it", hint="Try again.")


def check_own_progress(shard: Shard, view: int) -> None:
    """Raises ReplicatedNow where it is not this node alone (any more) that says how far a continuous view is stored."""
    found = shard.version.catalog.series_by_number.get(view)
    database = None if found is None else found[0]
    is_coming = database is not None and database.number in shard.producers.stopped
    is_shared = database is not None and any(each.number in shard.log.shared for each in database.locations)
    if is_coming or is_shared or view in shard.shown:
        raise ReplicatedNow("the database was replicated while a continuous view was refreshed", hint="Try again.")


def known_series(shard: Shard, number: int, name: str) -> Series:
    """Raises UndefinedTable."""
    found = shard.version.catalog.series_by_number.get(number)
    if found is None:
        raise UndefinedTable(f'relation "{name}" does not exist any more')
    return found[1]


def database_of_step(shard: Shard, step: Step) -> int:
    """The number of its database. Raises UndefinedTable."""
    if isinstance(step, Write):
        series = step.batches[0].series
        number, name = series.number, series.name
    else:
        number = step.parts[0].tombstones[0].series
        name = str(number)
    known_series(shard, number, name)
    return shard.version.catalog.series_by_number[number][0].number


def check_step(shard: Shard, step: Step) -> None:
    """Raises UndefinedTable, UndefinedColumn, PointsBeyondRetention, ConfigurationLimitExceeded, and what a producer's
    number has against it."""
    if isinstance(step, Write):
        _check_write(shard, step)
        return
    for number in {stone.series for part in step.parts for stone in part.tombstones}:
        known_series(shard, number, str(number))


def _check_write(shard: Shard, write: Write) -> None:
    for points in write.batches:
        series = known_series(shard, points.series.number, points.series.name)
        gone = [number for number in points.fields if number not in series.by_number]
        if gone:
            raise UndefinedColumn(
                f'a column of "{series.name}" was dropped or changed its type while it was written to',
                hint="Send the same again.",
            )
        floor = series.floor_ns
        if floor is not None and int(points.times.min()) < floor:
            raise PointsBeyondRetention(
                f'points beyond retention policy of "{series.name}"',
                detail=f"Points before {instant_text(floor)} are gone already.",
            )
        _check_tagsets(shard, points, series)
    _check_slots(shard, write)
    if write.producer is not None and write.batches:
        shard.producers.check(scoped(database_of_step(shard, write), write.producer))


def _check_slots(shard: Shard, write: Write) -> None:
    """Raises CannotConnectNow for points whose slots are being changed, or that were cut as it was before. The next
    counters are higher than those of what was deleted where slots hold (``Slots.counter``)."""
    if not write.batches:
        return
    database = shard.version.catalog.databases_by_number[database_of_step(shard, write)]
    for part in write.parts if database.slots_by_number else ():
        for piece in part.pieces:
            points = write.batches[piece.batch]
            slots = database.slots_by_number.get(points.series.number)
            if slots is None:
                continue
            times = points.times if piece.rows is None else points.times[piece.rows]
            begin = slots[-1].from_bucket
            if not slots[-1].settled and int(times.max()) // BUCKET_NS >= begin:
                raise CannotConnectNow(
                    f'slots of "{points.series.name}" are being changed: points from '
                    f"{instant_text(begin * BUCKET_NS)} on are not taken",
                    hint="Send the same again in a moment.",
                )
            shard.log.counter = max(shard.log.counter, *(each.counter for each in slots))
            at = places_in(database, points.series.number).indexes(database.locations, times)
            if any(database.locations[each].number != part.location.number for each in np.unique(at).tolist()):
                raise CannotConnectNow(
                    f'slots of "{points.series.name}" were changed while it was written to',
                    hint="Send the same again.",
                )


def check_empty(shard: Shard, ranges: Iterable[RangeDeletion]) -> None:
    """Raises ObjectNotInPrerequisiteState for a range in which there may be versions of points, hidden ones as well:
    what hides them may know them by the place that they have had."""
    version = shard.version
    for each in ranges:
        number, low, high = each.series.number, each.range.low, each.range.high
        blocks = version.blocks.get(number)
        is_met = blocks is not None and bool(((blocks.max_time >= low) & (blocks.min_time < high)).any())
        if is_met or any(run.max_time >= low and run.min_time < high for run in version.runs(number)):
            raise ObjectNotInPrerequisiteState(
                f'"{each.series.name}" has points from {instant_text(low)} on, or had some that are still on disk'
            )


def check_held(shard: Shard, held: Held | None) -> None:
    """Raises SerializationFailure for rows of a refresh that does not hold its view here (any more)."""
    if held is not None and shard.held.get(held.view) != held.ticket:
        raise SerializationFailure(
            "a continuous view is refreshed by somebody else by now, or who leads has changed since this began",
            hint="Refresh it again.",
        )


def _check_tagsets(shard: Shard, points: Points, series: Series) -> None:
    index = shard.indexes.get(series.number)
    limit = shard.options.tagsets_max
    if index is None or len(index) + len(points.tagsets) <= limit:
        return
    known = index.snapshot()
    new = int((known.ids(points.tagsets) < 0).sum())
    if known.size + new > limit:
        raise ConfigurationLimitExceeded(
            f'series "{series.name}" has {known.size} tag sets, {new} more would be beyond the limit of {limit}',
            hint="Values that are different in most points belong into fields, not into tags.",
        )
