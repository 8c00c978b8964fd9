"""Time: int64 nanoseconds since 1970 UTC in storage, PostgreSQL microseconds in SQL.

The one module that converts between the two, always by floor: Arrow's cast and divide and DuckDB's ``//`` truncate
towards zero and are wrong before 1970 (tried). Bounds outside int64 nanoseconds clamp (years 1677 to 2262).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

NS_PER_US = 1_000
NS_PER_SECOND = 1_000_000_000
NS_MIN = -(2**63)
NS_MAX = 2**63 - 1
# Line protocol's and ours: the outermost values of int64 stand for "before" and "after" every point.
POINT_NS_MIN = -(2**63) + 2
POINT_NS_MAX = 2**63 - 2

BUCKET_NS = 300 * NS_PER_SECOND
WINDOW_NS = 7200 * NS_PER_SECOND


def clamp_ns(value: int) -> int:
    return max(NS_MIN, min(NS_MAX, value))


def instant_text(ns: int) -> str:
    """For messages: ``2026-11-21 08:00:00.5+00``, with as many digits as it needs."""
    date, _, clock = str(np.datetime64(ns, "ns")).partition("T")
    return f"{date} {clock.rstrip('0').rstrip('.') if '.' in clock else clock}+00"


def us_of_one(ns: int) -> int:
    """Microseconds of one time, floored."""
    return ns // NS_PER_US


def us_of_ns(times: Int64s) -> Int64s:
    """Microseconds, floored."""
    return np.floor_divide(times, NS_PER_US)


def ns_from_us_ge(us: int) -> int:
    """Lowest ns of ``time >= us``; also the exclusive upper bound of ``time < us``."""
    return clamp_ns(us * NS_PER_US)


def ns_from_us_gt(us: int) -> int:
    """Lowest ns of ``time > us``; also the exclusive upper bound of ``time <= us``."""
    return clamp_ns((us + 1) * NS_PER_US)


def bucket_of(times: Int64s) -> Int64s:
    """The 5-minute bucket number of each time: floor(time / 5 min)."""
    return np.floor_divide(times, BUCKET_NS)
