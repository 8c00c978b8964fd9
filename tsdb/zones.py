"""Time zones as tables: when the offset from UTC changes, and to what.

``zone(name)`` takes an IANA name in any case (``Europe/Berlin``), ``UTC``, an ISO offset with the sign of ISO 8601
(``+05:30`` is east of Greenwich) or the POSIX form that PostgreSQL shows for a numeric zone (``<+05:30>-05:30``,
whose second part has POSIX's sign). The tables come from the TZif files of the system (``zoneinfo.TZPATH``) or of
the ``tzdata`` package; after a file's last transition the rule in its footer holds, which ``zoneinfo`` evaluates.
That rule repeats with the Gregorian calendar: times beyond the table fold back by whole cycles of 400 years.

Source: RFC 9636 (TZif); PostgreSQL 15, src/backend/utils/adt/datetime.c (DetermineTimeZoneOffset).
"""

from __future__ import annotations

import importlib.resources
import re
import struct
import zoneinfo
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tsdb.errors import InvalidParameterValue

US_PER_SECOND = 1_000_000
CYCLE_US = 146_097 * 86_400 * US_PER_SECOND  # 400 Gregorian years

# The table reaches so far that a whole cycle lies after the last transition that any file lists (2037).
_TABLE_END_YEAR = 2500
_RULE_STEP = timedelta(days=7)


@dataclass(frozen=True, eq=False)
class Zone:
    """``offsets_s[0]`` holds before ``transitions_us[0]``, ``offsets_s[i + 1]`` from ``transitions_us[i]`` on.

    Both are int64 arrays; transitions are microseconds since 1970 UTC, offsets seconds east of Greenwich.
    """

    name: str
    transitions_us: npt.NDArray[np.int64]
    offsets_s: npt.NDArray[np.int64]
    end_us: int

    def offset_s(self, us: int) -> int:
        """The offset at a UTC time."""
        if us >= self.end_us:
            us -= ((us - self.end_us) // CYCLE_US + 1) * CYCLE_US
        return int(self.offsets_s[bisect_right(self.transitions_us, us)])

    def utc_us(self, local_us: int) -> int:
        """The UTC time of a local one, as PostgreSQL decides the two odd cases: a local time that the clocks
        skipped is read with the offset before the change, one that came twice with the offset after it."""
        day_us = 86_400 * US_PER_SECOND
        before, after = self.offset_s(local_us - day_us), self.offset_s(local_us + day_us)
        if before == after:
            return local_us - before * US_PER_SECOND
        by_before = local_us - before * US_PER_SECOND
        by_after = local_us - after * US_PER_SECOND
        before_holds = self.offset_s(by_before) == before
        after_holds = self.offset_s(by_after) == after
        if after_holds or (not before_holds and before > after):
            return by_after
        return by_before


@lru_cache(maxsize=256)
def zone(name: str) -> Zone:
    """The zone of that name. Raises ``InvalidParameterValue`` for an unknown one."""
    if name.upper() in ("UTC", "GMT", "Z", "ETC/UTC", "ZULU"):
        return fixed(name, 0)
    offset = _parse_offset(name)
    if offset is not None:
        return fixed(name, offset)
    canonical = _names().get(name.lower())
    if canonical is None:
        raise InvalidParameterValue(f'time zone "{name}" not recognized')
    return _load(canonical)


def fixed(name: str, offset_s: int) -> Zone:
    """A zone with one offset for ever."""
    return Zone(name, np.empty(0, np.int64), np.array([offset_s], np.int64), 2**63 - 1)


_ISO_OFFSET = re.compile(r"([+-])(\d{1,2})(?::?(\d{2})(?::?(\d{2}))?)?")
_POSIX_OFFSET = re.compile(r"<[^<>]{1,20}>([+-]?)(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?")


def _parse_offset(name: str) -> int | None:
    match, east = _ISO_OFFSET.fullmatch(name), 1
    if match is None:
        match, east = _POSIX_OFFSET.fullmatch(name), -1
    if match is None:
        return None
    sign, hours, minutes, seconds = match.groups()
    offset = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    if offset >= 168 * 3600 or int(minutes or 0) > 59 or int(seconds or 0) > 59:
        raise InvalidParameterValue(f'time zone "{name}" not recognized')
    return east * (-offset if sign == "-" else offset)


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Every IANA name by its lower-case form: PostgreSQL takes names in any case."""
    return {name.lower(): name for name in sorted(zoneinfo.available_timezones())}


def _read(name: str) -> bytes:
    for directory in zoneinfo.TZPATH:
        path = Path(directory, name)
        if path.is_file():
            return path.read_bytes()
    package, _, resource = name.rpartition("/")
    where = ".".join(["tzdata.zoneinfo", *package.split("/")]) if package else "tzdata.zoneinfo"
    return importlib.resources.files(where).joinpath(resource).read_bytes()


_HEADER = struct.Struct(">4s1s15x6l")


def _load(name: str) -> Zone:
    transitions, offsets = _parse_tzif(_read(name))
    rules = zoneinfo.ZoneInfo(name)
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=max(transitions[-1] if transitions else 0, 0))
    end = datetime(_TABLE_END_YEAR, 1, 1, tzinfo=UTC)
    offset = offsets[-1]
    while at < end:
        following = min(at + _RULE_STEP, end)
        if _offset(rules, following) != offset:
            change = _bisect(rules, at, following)
            offset = _offset(rules, change)
            transitions.append(int(change.timestamp()))
            offsets.append(offset)
        at = following
    return Zone(
        name,
        np.array(transitions, np.int64) * US_PER_SECOND,
        np.array(offsets, np.int64),
        int(end.timestamp()) * US_PER_SECOND,
    )


def _offset(rules: zoneinfo.ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(rules).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


def _bisect(rules: zoneinfo.ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second in (low, high] that has the offset of ``high``."""
    target = _offset(rules, high)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        low, high = (low, middle) if _offset(rules, middle) == target else (middle, high)
    return high


def _parse_tzif(octets: bytes) -> tuple[list[int], list[int]]:
    """Transition times in seconds, and offsets: one more, the first for the time before all transitions."""
    magic, version, *counts = _HEADER.unpack_from(octets)
    if magic != b"TZif":
        raise InvalidParameterValue("not a time zone file")
    start, word = 44, 4
    if version >= b"2":  # the 64-bit data follow the 32-bit data
        isut, isstd, leap, times, types, letters = counts
        start += times * 5 + types * 6 + letters + leap * 8 + isstd + isut
        _, _, *counts = _HEADER.unpack_from(octets, start)
        start, word = start + 44, 8
    _, _, _, times, types, _ = counts
    transitions = list(struct.unpack_from(f">{times}{'q' if word == 8 else 'l'}", octets, start))
    indices = octets[start + times * word : start + times * (word + 1)]
    type_offsets = [
        int(struct.unpack_from(">l", octets, start + times * (word + 1) + 6 * index)[0]) for index in range(types)
    ]
    return transitions, [type_offsets[0], *(type_offsets[index] for index in indices)]
