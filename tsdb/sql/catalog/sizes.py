"""Live figures: how many rows and bytes a relation has on this node."""

from __future__ import annotations

from tsdb.model.catalog import Series
from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.outline import Entry

PAGE_BYTES = 8192
_UNKNOWN = -1.0


def rows_of(glance: Glance, entry: Entry) -> float:
    """reltuples: an estimate that counts each version of a point; indexes have as many as their table."""
    model = entry.model
    if isinstance(model, Series):
        return float(glance.statistics(model).rows)
    return 1.0 if entry.kind == "S" else 0.0 if entry.kind == "v" else _UNKNOWN


def bytes_of(glance: Glance, entry: Entry) -> int:
    """On disk. An index is part of its table's blocks, so it has none of its own; a sequence is one page."""
    model = entry.model
    if isinstance(model, Series) and entry.kind != "i":
        return glance.statistics(model).bytes
    return PAGE_BYTES if entry.kind == "S" else 0


def database_bytes(glance: Glance, number: int) -> int:
    """All series of a database together."""
    database = glance.outline.catalog.databases_by_number.get(number)
    return 0 if database is None else sum(glance.statistics(s).bytes for s in database.series.values())


_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def pretty(size: int) -> str:
    """pg_size_pretty of bigint: rounded half away from zero at each step (dbsize.c)."""
    unit = 0
    left, limit = size, 10 * 1024
    while unit + 1 < len(_UNITS) and abs(left) >= limit:
        # Each unit but the first keeps one bit more than it shows, to round by at the end.
        left = _shifted(left, 9 if unit == 0 else 10)
        limit = 20 * 1024 - 1
        unit += 1
    if unit:
        left = _halved(left)
    return f"{left} {_UNITS[unit]}"


def _shifted(value: int, bits: int) -> int:
    return -(-value >> bits) if value < 0 else value >> bits


def _halved(value: int) -> int:
    return -((1 - value) // 2) if value < 0 else (value + 1) // 2
