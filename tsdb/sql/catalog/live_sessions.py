"""Live rows that come from sessions and the server: settings, activity, time zones."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from tsdb.sql.catalog import oids, static
from tsdb.sql.catalog.live import Moment, live

PG = "pg_catalog"
_CAPTURED = (
    "name", "setting", "unit", "category", "short_desc", "extra_desc", "context", "vartype", "min_val", "max_val",
    "enumvals", "boot_val", "reset_val",
)  # fmt: skip
# What the captured server had of its own machine.
_OF_THE_MACHINE = ("file", "directory", "port", "listen_addresses", "socket")


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of pg_settings; ``captured`` in the order of _CAPTURED."""

    name: str
    value: str
    changed: bool
    captured: tuple[Any, ...] = ()

    def get(self, column: str) -> Any:
        return self.captured[_CAPTURED.index(column)] if self.captured else None


@cache
def _captured() -> dict[str, tuple[Any, ...]]:
    rows = static.values("pg_settings", *_CAPTURED)
    kept = [r for r in rows if not any(word in r[0] for word in _OF_THE_MACHINE)]
    return {str(row[0]).lower(): row for row in kept}


@live(PG, "pg_settings", {
    "name": lambda s, m: s.name, "setting": lambda s, m: s.value,
    **{c: (lambda c: lambda s, m: s.get(c))(c) for c in ("unit", "short_desc", "extra_desc", "min_val", "max_val")},
    "category": lambda s, m: s.get("category") or "Customized Options",
    "context": lambda s, m: s.get("context") or "user", "vartype": lambda s, m: s.get("vartype") or "string",
    "enumvals": lambda s, m: s.get("enumvals"), "source": lambda s, m: "session" if s.changed else "default",
    "boot_val": lambda s, m: s.get("boot_val"), "reset_val": lambda s, m: s.get("reset_val"), "pending_restart": False,
}, kept=False)  # fmt: skip
def settings(moment: Moment) -> Sequence[Setting]:
    """What the session knows has its value; the rest of PostgreSQL's settings have those of a fresh server."""
    known = {name.lower(): value for name, value in moment.context.settings.items()}
    rows = [
        Setting(row[0], str(known.get(name, row[1]) or ""), name in known and known[name] != row[1], row)
        for name, row in _captured().items()
    ]
    rows += [Setting(n, v, False) for n, v in known.items() if n not in _captured()]
    return sorted(rows, key=lambda s: s.name.lower())


@live(PG, "pg_stat_activity", {
    **{c: (lambda c: lambda r, m: r.get(c))(c) for c in (
        "pid", "usename", "application_name", "client_addr", "client_port", "backend_start", "xact_start",
        "query_start", "state_change", "wait_event_type", "wait_event", "state", "query", "leader_pid",
        "client_hostname",
    )},
    "datname": lambda r, m: r.get("datname"),
    "datid": lambda r, m: _database_oid(r.get("datname"), m),
    "usesysid": lambda r, m: _role_oid(r.get("usename"), m),
    "backend_type": lambda r, m: r.get("backend_type", "client backend"),
}, kept=False)  # fmt: skip
def activity(moment: Moment) -> Sequence[Any]:
    found = moment.context.activity
    if found is not None:
        return list(found())
    c = moment.context
    return [{"pid": c.backend_pid, "usename": c.user, "datname": c.database, "state": "active", "query": ""}]


def _database_oid(name: str | None, moment: Moment) -> int | None:
    found = moment.outline.catalog.databases.get(name or "")
    return None if found is None else oids.database(found.number)


def _role_oid(name: str | None, moment: Moment) -> int | None:
    found = moment.outline.catalog.roles.by_name.get(name or "")
    return None if found is None else found.number


@cache
def _zone_names() -> tuple[str, ...]:
    return tuple(sorted(n for n in zoneinfo.available_timezones() if n != "localtime"))


@live(PG, "pg_timezone_names", {
    "name": lambda z, m: z[0], "abbrev": lambda z, m: z[1], "utc_offset": lambda z, m: z[2], "is_dst": lambda z, m: z[3],
}, kept=False)  # fmt: skip
def time_zones(moment: Moment) -> Sequence[tuple[str, str, Any, bool]]:
    now = datetime.datetime.fromtimestamp(moment.context.now_us / 1e6, datetime.UTC)
    rows = []
    for name in _zone_names():
        at = now.astimezone(zoneinfo.ZoneInfo(name))
        offset = at.utcoffset() or datetime.timedelta()
        seconds = offset.days * 86400 + offset.seconds
        rows.append((name, at.tzname() or "", pa.MonthDayNano([0, 0, seconds * 1_000_000_000]), bool(at.dst())))
    return rows
