"""Whether rows are still what a statement saw, before what it makes of them is logged.

A statement reads in one version of the data and its effects come later, at COMMIT perhaps. Since its moment a row can
have changed in two ways: a newer tombstone hides it, or (in a keyed series) there is a newer version of its key. Both
show in what came after the moment, which is little: old blocks are not read. Only when a tombstone from after the
moment is forgotten already, because a flush has carried it out, the rows themselves are read again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.model.store import TimeRange
from tsdb.storage.append import Seen
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.rules import rules_of
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone
from tsdb.storage.view import StorageView
from tsdb.storage.visibility import Visibility

Int64s = npt.NDArray[np.int64]
_KEY = np.dtype([("tagset", np.int32), ("time", np.int64)])


def is_unchanged(view: StorageView, seen: Seen, since: int | None) -> bool:
    """Are all rows that were seen in ``view`` too (``exactly``: with no newer version)?

    ``since`` is the counter up to which their statement saw; None: look at the rows themselves.
    """
    rows = seen.rows
    found = view.catalog.series_by_number.get(rows.series.number)
    if found is None:
        return False
    database, series = found
    tagsets = view.tagsets(series.number)
    tagset = tagsets.ids(rows.tagsets)[rows.tagset]
    if bool((tagset < 0).any()):
        return False
    wanted = np.zeros(tagsets.count, np.bool_)
    wanted[tagset] = True
    span = TimeRange(int(rows.times.min()), int(rows.times.max()) + 1)
    if since is None:
        return _are_there(view, seen, tagset, span, wanted)
    stones = [each for each in view.tombstones(series.number) if _may_hide(each, since, span)]
    if stones and rows.sequences is not None:
        named = rows.sequences != 0
        visibility = Visibility(database.number, series, rules_of(series, stones, tagsets))
        if visibility.hidden(tagset[named], rows.times[named], rows.sequences[named]) is not None:
            return False
    return not (series.keyed and seen.exactly) or not _is_written(view, seen, tagset, span, wanted, since)


def _may_hide(stone: AnyTombstone, since: int, span: TimeRange) -> bool:
    if stone.counter & COUNTER_MASK <= since:
        return False
    if isinstance(stone, KeyTombstone):
        return int(stone.times.min()) < span.high and int(stone.times.max()) >= span.low
    return stone.range_low < span.high and stone.range_high > span.low


def _is_written(
    view: StorageView,
    seen: Seen,
    tagset: npt.NDArray[np.int32],
    span: TimeRange,
    wanted: npt.NDArray[np.bool_],
    since: int,
) -> bool:
    """Has one of the keys a version from after ``since``?"""
    keys = _keys(tagset, seen.rows.times)
    for piece in view.rows(seen.rows.series, span, wanted, since):
        assert piece.tagset is not None
        assert piece.times is not None
        assert piece.sequences is not None
        newer = np.flatnonzero(piece.sequences & COUNTER_MASK > since)
        if len(newer) and bool(np.isin(_keys(piece.tagset[newer], piece.times[newer]), keys).any()):
            return True
    return False


def _are_there(
    view: StorageView, seen: Seen, tagset: npt.NDArray[np.int32], span: TimeRange, wanted: npt.NDArray[np.bool_]
) -> bool:
    """A row is known by its sequence, which changes with every write to it; or, if not ``exactly``, by its key."""
    missing: npt.NDArray[Any] = _sequences(seen) if seen.exactly else _keys(tagset, seen.rows.times)
    for piece in view.rows(seen.rows.series, span, wanted):
        if not len(missing):
            break
        assert piece.tagset is not None
        assert piece.times is not None
        assert piece.sequences is not None
        there: npt.NDArray[Any] = piece.sequences if seen.exactly else _keys(piece.tagset, piece.times)
        missing = missing[~np.isin(missing, there)]
    return not len(missing)


def _sequences(seen: Seen) -> Int64s:
    """0 stands for any."""
    sequences = seen.rows.sequences
    return np.empty(0, np.int64) if sequences is None else sequences[sequences != 0]


def _keys(tagset: npt.NDArray[np.int32], times: Int64s) -> npt.NDArray[np.generic]:
    keys = np.empty(len(times), _KEY)
    keys["tagset"], keys["time"] = tagset, times
    return keys
