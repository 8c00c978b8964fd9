"""Whether rows are still what a statement saw, before what it makes of them is logged.

A statement reads in one version of the data and its effects come later, at COMMIT perhaps. What happened to its rows
in between is looked up by reading them again: the sequence of a visible row changes with every write to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.model.store import TimeRange
from tsdb.storage.append import Seen
from tsdb.storage.view import StorageView

_KEY = np.dtype([("tagset", np.int32), ("time", np.int64)])


def is_unchanged(view: StorageView, seen: Seen) -> bool:
    """Are all rows that were seen in ``view`` too (``exactly``: with no newer version)?"""
    rows = seen.rows
    tagsets = view.tagsets(rows.series.number)
    ids = np.array([-1 if (found := tagsets.find(each)) is None else found for each in rows.tagsets], np.int32)
    tagset = ids[rows.tagset]
    if bool((tagset < 0).any()):
        return False
    wanted = np.zeros(tagsets.count, np.bool_)
    wanted[tagset] = True
    span = TimeRange(int(rows.times.min()), int(rows.times.max()) + 1)
    missing = _missing_sequences(seen) if seen.exactly else _keys(tagset, rows.times)
    for piece in view.rows(rows.series, span, wanted):
        if not len(missing):
            break
        assert piece.tagset is not None
        assert piece.times is not None
        assert piece.sequences is not None
        there: npt.NDArray[Any] = piece.sequences if seen.exactly else _keys(piece.tagset, piece.times)
        missing = missing[~np.isin(missing, there)]
    return not len(missing)


def _missing_sequences(seen: Seen) -> npt.NDArray[np.generic]:
    """What is looked for: a sequence is of one row; 0 stands for any."""
    sequences = seen.rows.sequences
    return np.empty(0, np.int64) if sequences is None else sequences[sequences != 0]


def _keys(tagset: npt.NDArray[np.int32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    keys = np.empty(len(times), _KEY)
    keys["tagset"], keys["time"] = tagset, times
    return keys
