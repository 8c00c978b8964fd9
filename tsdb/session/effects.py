"""Effects of statements on their way into the store: joined where they can be, written in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from tsdb.model.points import Points
from tsdb.model.schema import Database
from tsdb.model.store import KeyDeletion, Store
from tsdb.sql.modification import Effect, Write

# Points of one write to the store; an effect is never cut.
_WRITE_ROWS_MAX = 65_536


def size_of(effect: Effect) -> int:
    """About how many bytes an effect holds in memory."""
    if isinstance(effect, Write):
        points = effect.points
        arrays: int = sum(array.nbytes for array in points.fields.values())
        replaced = size_of(effect.replaces) if effect.replaces is not None else 0
        return 200 + 12 * len(points) + arrays + sum(len(each) + 60 for each in points.tagsets) + replaced
    if isinstance(effect, KeyDeletion):
        return 200 + 20 * len(effect.times) + sum(len(each) + 60 for each in effect.tagsets)
    return 500


def write(store: Store, database: str, effects: Sequence[Effect]) -> None:
    """Hand effects to the store, in order, and wait until all are durable and visible. Blocks."""
    target = store.catalog.find(database)
    for is_mere_write, group in groupby(effects, key=_is_mere_write):
        futures: list[Future[Any]] = []
        if is_mere_write:
            batches = [effect.points for effect in group if isinstance(effect, Write)]
            futures += [store.write(target, joined) for joined in _joined(batches)]
        else:
            futures += [_change(store, target, effect) for effect in group]
        for future in futures:
            future.result()


def _is_mere_write(effect: Effect) -> bool:
    return isinstance(effect, Write) and effect.replaces is None


def _change(store: Store, database: Database, effect: Effect) -> Future[Any]:
    if isinstance(effect, Write):
        return store.write(database, [effect.points], replaces=effect.replaces)
    return store.delete(database, effect)


def _joined(batches: list[Points]) -> Iterator[list[Points]]:
    """Batches of one write each: those of one series in a row become one, up to a size."""
    pending: list[Points] = []
    rows = 0
    for _, group in groupby(batches, key=lambda points: (points.series.number, tuple(points.fields))):
        part: list[Points] = []
        part_rows = 0
        for points in group:
            if part and part_rows + len(points) > _WRITE_ROWS_MAX:
                pending.append(concatenated(part))
                part, part_rows = [], 0
            part.append(points)
            part_rows += len(points)
        pending.append(concatenated(part))
        rows += part_rows
        if rows >= _WRITE_ROWS_MAX:
            yield pending
            pending, rows = [], 0
    if pending:
        yield pending


def concatenated(batches: Sequence[Points]) -> Points:
    """One batch of several of the same series with the same fields, rows in order."""
    if len(batches) == 1:
        return batches[0]
    numbers: dict[bytes, int] = {}
    tagsets: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
    for points in batches:
        ours = np.array([numbers.setdefault(each, len(numbers)) for each in points.tagsets], np.int32)
        tagsets.append(ours[points.tagset])
    fields = {number: pa.concat_arrays([points.fields[number] for points in batches]) for number in batches[0].fields}
    times = np.concatenate([points.times for points in batches])
    return Points(batches[-1].series, times, list(numbers), np.concatenate(tagsets), fields)
