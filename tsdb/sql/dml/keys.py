"""Keys of points, (tag set, time): which are there already, which are among others. Columns at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.points import Int32s, Int64s, Points, decode_tagset
from tsdb.model.store import TIME_NS, ScanRequest, TagMatch, TimeRange, View
from tsdb.sql.dml.to_points import tagsets_of

# Tag sets by whose values rows are looked up; of more, all are read.
_TAGSETS_MAX = 10_000


def keys_of(points: Points) -> npt.NDArray[np.void]:
    """The points' keys (tag set, time) as comparable records."""
    keys = np.empty(len(points), dtype=[("tagset", np.int32), ("time", np.int64)])
    keys["tagset"] = points.tagset
    keys["time"] = points.times
    return keys


def existing_rows(view: View, points: Points) -> npt.NDArray[np.bool_]:
    """Which of the points have their key (tags and time) in the series already."""
    found = np.zeros(len(points), np.bool_)
    known = view.knows(points.series, points.tagsets)
    rows = np.flatnonzero(known[points.tagset])
    if not len(rows):
        return found
    found[rows] = _existing(view, points if len(rows) == len(points) else points.take(rows))
    return found


def _existing(view: View, points: Points) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(points), np.bool_)
    series = points.series
    low, high = int(points.times.min()), int(points.times.max())
    numbers: tuple[int | str, ...] = (*(c.number for c in series.tags), TIME_NS)
    request = ScanRequest(series, numbers, TimeRange(low, high + 1), _tags_of(points))
    for batch in view.scan(request).batches:
        columns = [(c.number, batch.column(i).cast(pa.string())) for i, c in enumerate(series.tags)]
        tagsets, tagset = tagsets_of(columns, batch.num_rows)
        found |= among(points, tagsets, tagset, batch.column(len(columns)).to_numpy(zero_copy_only=False))
    return found


def _tags_of(points: Points) -> tuple[TagMatch, ...]:
    """Conditions on tags that the points' rows meet."""
    if len(points.tagsets) > _TAGSETS_MAX:
        return ()
    values = [decode_tagset(each) for each in points.tagsets]
    found = ((tag.number, frozenset(each.get(tag.number) for each in values)) for tag in points.series.tags)
    return tuple(TagMatch(number, known.__contains__, known) for number, known in found)


def among(points: Points, tagsets: Sequence[bytes], tagset: Int32s, times: Int64s) -> npt.NDArray[np.bool_]:
    """Which of the points have one of the keys: tag sets by value, each key's index into them, its time."""
    numbers = {each: i for i, each in enumerate(points.tagsets)}
    ours = np.array([numbers.get(each, -1) for each in tagsets], np.int32)[tagset]
    keys = keys_of(points)
    others = np.empty(len(times), dtype=keys.dtype)
    others["tagset"] = ours
    others["time"] = times
    return np.isin(keys, others[ours >= 0])
