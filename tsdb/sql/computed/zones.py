"""Time zones as tables of transitions, for kernels: when each offset from UTC begins.

The tables are asked of ``zoneinfo``, which does not show its own: an offset that differs three weeks later is searched
for by halves, to the second. One that came and went within three weeks is not found; clocks have been put forward or
back for longer than that (a month, for Ramadan).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tsdb.sql.context import zone_of

_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime(1840, 1, 1, tzinfo=UTC), datetime(2263, 1, 1, tzinfo=UTC)
_STEP = 21 * 86_400
FOREVER = np.iinfo(np.int64).max // 2


@dataclass(frozen=True, slots=True)
class Transitions:
    """``offsets[i]`` (µs east of UTC) holds from ``starts[i]`` on (µs since 1970), until the next; the first always."""

    starts: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def transitions(name: str) -> Transitions:
    """The table of a zone by its name. Raises InvalidParameterValue."""
    zone = zone_of(name)

    def offset(second: int) -> int:
        made = datetime.fromtimestamp(second, zone).utcoffset()
        assert made is not None
        return made // timedelta(microseconds=1)

    second, last = (int((each - _EPOCH).total_seconds()) for each in (_FIRST, _LAST))
    starts, offsets = [-FOREVER], [offset(second)]
    while second < last:
        following = min(second + _STEP, last)
        after = offset(following)
        if after != offsets[-1]:
            low, high = second, following
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
            starts.append(high * _SECOND)
            offsets.append(offset(high))
            # What comes soon after is looked for from here on.
            following = high
        second = following
    return Transitions(np.array(starts, np.int64), np.array(offsets, np.int64))
