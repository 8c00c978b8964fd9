"""Keys of GROUP BY that are buckets of time: time_bucket, date_bin, date_trunc, Grafana's arithmetic with the epoch.

The binder writes all of them in few forms; they are known by the text it writes.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tsdb.sql.aggregation.plan import TimeKey
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.rules.prune_by_time import clock

# Wider buckets overflow int64 in nanoseconds: 100 years are enough.
_WIDTH_US_MAX = 100 * 365 * 86_400 * 1_000_000
_US_PER_SECOND = 1_000_000
_BUCKET = re.compile(r"pg_bucket\((.+), (\d+), (?:(-?\d+)|epoch_us\(make_timestamptz\(CAST\((-?\d+) AS BIGINT\)\)\))\)")

_ZONED = re.compile(
    r"make_timestamptz\(py_zone_bucket\(epoch_us\(([^()]+)\), \('([^|\\]+)' \|\| '\|' \|\| 0 \|\| '\|' \|\| (\d+)"
    r" \|\| '\|' \|\| (-?\d+) \|\| '\|' \|\| 0\)\)\)"
)
_TRUNCATED = re.compile(r"date_trunc\('(?P<unit>hour|day|week)', (?P<time>[^()]+)\)")
_TRUNCATED_ELSEWHERE = re.compile(
    r"timezone\('(?P<zone>[^'|\\]+)', "
    r"date_trunc\('(?P<unit>hour|day|week)', timezone\('(?P=zone)', (?P<time>[^()]+)\)\)\)"
)
_LONG_UNITS = "(?:month|quarter|year)"
_LONG = re.compile(rf"date_trunc\('{_LONG_UNITS}', (?P<time>[^()]+)\)")
_LONG_ELSEWHERE = re.compile(
    r"timezone\('(?P<zone>[^'|\\]+)', "
    rf"date_trunc\('{_LONG_UNITS}', timezone\('(?P=zone)', (?P<time>[^()]+)\)\)\)"
)
_MONTHS = re.compile(
    r"make_timestamptz\(epoch_us\(pg_month_bucket\(make_timestamp\(epoch_us\((?P<time>[^()]+)\)\), \d+, "
    r"make_timestamp\(CAST\((?P<origin>-?\d+) AS BIGINT\)\)\)\)\)"
)
_HOUR_US = 3600 * _US_PER_SECOND
_DAY_US = 24 * _HOUR_US
# Weeks begin on Mondays; 1970 began on a Thursday.
_UNITS = {"hour": (_HOUR_US, 0), "day": (24 * _HOUR_US, 0), "week": (7 * 24 * _HOUR_US, 4 * 24 * _HOUR_US)}


def time_key(key: Expr) -> TimeKey | None:
    """The buckets of the time column that a key of GROUP BY makes; None if it is something else."""
    made = _bucket(key) if key.op == "bucket" else _seconds(key) or _instant(key) or _truncated(key)
    return made if made is not None and 0 < made.width_us <= _WIDTH_US_MAX else None


def finer_key(key: Expr) -> TimeKey | None:
    """Buckets of which each lies in one of the buckets that a key makes; None if it is something else."""
    made = _bucket(key) if key.op == "gapfill" else time_key(key)
    return _days(key) or _instants(made if made is not None and 0 < made.width_us <= _WIDTH_US_MAX else None)


def _instants(made: TimeKey | None) -> TimeKey | None:
    return made if made is None or made.form == "time" else replace(made, form="time")


def _days(key: Expr) -> TimeKey | None:
    """Months, quarters and years begin with a day, by the clocks that they are counted by."""
    found = _LONG.fullmatch(key.sql) or _LONG_ELSEWHERE.fullmatch(key.sql)
    if found is not None and _names_time(key, found["time"]):
        return TimeKey(_DAY_US, 0, zone=found.groupdict().get("zone", ""))
    found = _MONTHS.fullmatch(key.sql)
    if found is not None and _names_time(key, found["time"]) and int(found["origin"]) % _DAY_US == 0:
        return TimeKey(_DAY_US, 0)
    return None


def _bucket(key: Expr) -> TimeKey | None:
    """time_bucket, date_bin and date_trunc without a time zone of their own."""
    found = _BUCKET.fullmatch(key.sql)
    if found is None or key.type.typname != "timestamptz":
        return _zoned(key)
    time, width, origin, instant = found.groups()
    return TimeKey(int(width), int(origin if origin is not None else instant)) if _names_time(key, time) else None


def _zoned(key: Expr) -> TimeKey | None:
    """time_bucket with a time zone."""
    found = _ZONED.fullmatch(key.sql)
    if found is None or not _names_time(key, found[1]):
        return None
    return TimeKey(int(found[3]), int(found[4]), zone=found[2].replace("''", "'"))


def _truncated(key: Expr) -> TimeKey | None:
    """date_trunc by a time zone's clocks, the session's or another."""
    found = _TRUNCATED.fullmatch(key.sql) or _TRUNCATED_ELSEWHERE.fullmatch(key.sql)
    if found is None or not _names_time(key, found["time"]):
        return None
    width, origin = _UNITS[found["unit"]]
    return TimeKey(width, origin, zone=found.groupdict().get("zone", ""))


def _seconds(key: Expr) -> TimeKey | None:
    """floor(extract(epoch FROM time) / n) * n, as Grafana's $__timeGroup writes it."""
    if key.op != "*" or key.type.typname != "numeric" or len(key.args) != 2:
        return None
    floor, factor = key.args
    seconds = factor.args[0].value if factor.op == "cast" and factor.args[0].op == "literal" else None
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return None
    times = [each for each in floor.walk() if _is_time(each)]
    if len(times) != 1:
        return None
    width = seconds * _US_PER_SECOND
    if floor.sql != f"CAST(pg_floor_quotient(epoch_us({times[0].sql}), {width}) AS DECIMAL(18,0))":
        return None
    return TimeKey(width, 0, "seconds")


def _instant(key: Expr) -> TimeKey | None:
    """to_timestamp of such seconds."""
    if key.op != "call" or len(key.args) != 1 or key.args[0].op != "cast" or len(key.args[0].args) != 1:
        return None
    cast = key.args[0]
    made = _seconds(cast.args[0])
    whole = cast.type.typname == "float8" and key.sql == f"pg_to_timestamp({cast.sql})"
    return TimeKey(made.width_us, 0) if made is not None and whole else None


def _names_time(key: Expr, text: str) -> bool:
    """Whether a text is the time column, which the key contains."""
    return any(_is_time(arg) and arg.sql == text for arg in key.walk())


def _is_time(expr: Expr) -> bool:
    return clock(expr) is False and expr.type.typname == "timestamptz"
