"""Live rows that sessions give (settings, activity, cursors), and time zones."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from tsdb.sql.catalog.live import Glance, Value, live
from tsdb.sql.session_relations import COLUMNS
from tsdb.types import BY_NAME

PG = "pg_catalog"


def _column(place: int, name: str) -> Value:
    if name == "parameter_types":
        return lambda row, m: [BY_NAME[each].oid for each in row[place]]
    return lambda row, m: row[place]


def _register(name: str) -> None:
    columns = {column: _column(place, column) for place, (column, _) in enumerate(COLUMNS[name])}

    @live(PG, name, columns, kept=False)
    def rows(glance: Glance) -> Sequence[Any]:
        """As the session that asks sees them; none without a session."""
        session = glance.context.session
        return session.rows(name) if session is not None else ()


for _name in COLUMNS:
    _register(_name)


@cache
def _zone_names() -> tuple[str, ...]:
    return tuple(sorted(n for n in zoneinfo.available_timezones() if n != "localtime"))


@live(PG, "pg_timezone_names", {
    "name": lambda z, m: z[0], "abbrev": lambda z, m: z[1], "utc_offset": lambda z, m: z[2],
    "is_dst": lambda z, m: z[3],
}, kept=False)  # fmt: skip
def time_zones(glance: Glance) -> Sequence[tuple[str, str, Any, bool]]:
    now = datetime.datetime.fromtimestamp(glance.context.now_us / 1e6, datetime.UTC)
    rows = []
    for name in _zone_names():
        at = now.astimezone(zoneinfo.ZoneInfo(name))
        offset = at.utcoffset() or datetime.timedelta()
        seconds = offset.days * 86400 + offset.seconds
        rows.append((name, at.tzname() or "", pa.MonthDayNano([0, 0, seconds * 1_000_000_000]), bool(at.dst())))
    return rows
