"""Effects of statements on their way into the store: joined where they can be, written in order."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import groupby

import numpy as np
import pyarrow as pa

from tsdb.errors import (
    CannotConnectNow,
    ProgramLimitExceeded,
    QueryCanceled,
    StatementCompletionUnknown,
    TsdbError,
)
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.freshness import merged
from tsdb.model.points import Points
from tsdb.model.store import MAY_MEET, Effect, Free, KeyDeletion, Producer, Store, Write, Written

# Of hashes of tag sets.
SEED = np.uint64(secrets.randbits(64))
# Points of one write to the store; an effect is never cut.
_WRITE_ROWS_MAX = 65_536
# So many rows of mere writes are one step of the store, done or not done as a whole; more are several, since a step's
# log entries are in memory at once.
STEP_ROWS_MAX = 1 << 20
# Rows of each of several steps, and how many steps the store may have before it has finished the first of them.
_SMALL_STEP_ROWS = 1 << 17
_STEPS_AHEAD = 3


class SpooledPoints(Points):
    """Points whose values lie in a file and are read from there: they hold next to no memory (see ``spool``)."""

    __slots__ = ()


def size_of(effect: Effect) -> int:
    """About how many bytes an effect holds in memory."""
    if isinstance(effect, Write):
        points = effect.points
        if isinstance(points, SpooledPoints):
            return 1000 + 200 * len(points.fields)
        arrays: int = sum(array.nbytes for array in points.fields.values())
        seen = sum(size_of(each) for each in (effect.replaces, effect.updates, effect.depends) if each is not None)
        seen += 0 if effect.free is None else 9 * len(points)
        tagsets = ByteStrings.of(points.tagsets)
        return 200 + 12 * len(points) + arrays + tagsets.nbytes + 60 * len(tagsets) + seen
    if isinstance(effect, KeyDeletion):
        return 200 + 20 * len(effect.times) + sum(len(each) + 60 for each in effect.tagsets)
    return 500


def write(
    store: Store, effects: Sequence[Effect], producer: Producer | None = None, acks: int | None = None
) -> Written:
    """Hand effects to the store, in order, and wait until all are durable and visible, or none. Blocks.

    Mere writes of more rows than STEP_ROWS_MAX (a large COPY) are several steps: when one fails, those before it stay,
    and the error says how many rows they are. With a ``producer`` all are one numbered batch: one step, or refused.
    """
    writes = [effect for effect in effects if _joins_with(effect) is not None]
    rows = sum(len(effect.points) for effect in writes if isinstance(effect, Write))
    if producer is not None and rows > STEP_ROWS_MAX:
        raise ProgramLimitExceeded(
            f"a numbered batch of {rows} rows is too large: it has at most {STEP_ROWS_MAX}",
            hint="Number smaller transactions.",
        )
    if rows <= STEP_ROWS_MAX or len(writes) < len(effects):
        return store.commit(list(joined(effects)), producer, acks).result()
    steps: list[tuple[Future[Written], int]] = []
    try:
        for step, count in _steps(joined(effects)):
            steps.append((store.commit(step, None, acks), count))
            if len(steps) > _STEPS_AHEAD:
                steps[-1 - _STEPS_AHEAD][0].result()
        done = [future.result() for future, _ in steps]
    except TsdbError as error:
        ends = [(future.exception(), count) for future, count in steps]
        written = sum(count for end, count in ends if end is None)
        # What may be there is not told as what is not.
        unknown = next((end for end, _ in ends if isinstance(end, StatementCompletionUnknown)), None)
        told = (partly(error) if written else error) if unknown is None else unknown
        told.detail = f"{written} of {rows} rows had been written before and stay."
        raise told from None
    token = merged(*(each.token for each in done))
    return Written(rows, token=token, fell_short=any(each.fell_short for each in done))


def partly(error: TsdbError) -> TsdbError:
    """What failed after something before it was written: that nothing was done is true of the last part only."""
    if not isinstance(error, CannotConnectNow | QueryCanceled):
        return error
    return StatementCompletionUnknown(
        f"not all was written: of the last part it is said: {error.message}",
        detail="What was written before stays.",
        hint="Look at the data before you do the same again.",
    )


def _steps(effects: Iterator[Effect]) -> Iterator[tuple[list[Effect], int]]:
    step: list[Effect] = []
    rows = 0
    for effect in effects:
        assert isinstance(effect, Write)
        step.append(effect)
        rows += len(effect.points)
        if rows >= _SMALL_STEP_ROWS:
            yield step, rows
            step, rows = [], 0
    if step:
        yield step, rows


def joined(effects: Sequence[Effect]) -> Iterator[Effect]:
    """Mere writes to one series in a row become one, up to a size."""
    for key, group in groupby(effects, key=_joins_with):
        if key is None:
            yield from group
            continue
        part: list[Points] = []
        free: list[tuple[Free | None, int]] = []
        rows = 0
        for effect in group:
            assert isinstance(effect, Write)
            if part and rows + len(effect.points) > _WRITE_ROWS_MAX:
                yield Write(concatenated(part), free=both_free(*free))
                part, free, rows = [], [], 0
            part.append(effect.points)
            free.append((effect.free, len(effect.points)))
            rows += len(effect.points)
        yield Write(concatenated(part), free=both_free(*free))


def both_free(*parts: tuple[Free | None, int]) -> Free | None:
    """Of rows that are joined: what each part has to itself, and how many rows it is."""
    found = [each for each, _ in parts if each is not None]
    if not found:
        return None
    since = [np.full(count, MAY_MEET, np.int64) if each is None else each.since for each, count in parts]
    again = [np.zeros(count, np.bool_) if each is None else each.again for each, count in parts]
    # One of each version that was read is enough.
    moments = {moment.number: moment for each in found for moment in each.moments}
    return Free(np.concatenate(since), np.concatenate(again), tuple(moments.values()))


def _joins_with(effect: Effect) -> tuple[int, tuple[int, ...]] | None:
    """Mere writes with the same value may become one; None may not."""
    if not isinstance(effect, Write) or (effect.replaces or effect.updates or effect.depends) is not None:
        return None
    return effect.points.series.number, tuple(effect.points.fields)


def concatenated(batches: Sequence[Points]) -> Points:
    """One batch of several of the same series with the same fields, rows in order."""
    if len(batches) == 1:
        return batches[0]
    number, tagsets = ByteStrings.concatenated([ByteStrings.of(points.tagsets) for points in batches]).distinct(SEED)
    firsts = np.cumsum([0, *(len(points.tagsets) for points in batches)]).tolist()
    tagset = [number[first + points.tagset] for first, points in zip(firsts, batches, strict=False)]
    fields = {number: pa.concat_arrays([points.fields[number] for points in batches]) for number in batches[0].fields}
    times = np.concatenate([points.times for points in batches])
    return Points(batches[-1].series, times, tagsets, np.concatenate(tagset), fields)
