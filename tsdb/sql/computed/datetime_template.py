"""Templates of dates, times and intervals: to_char, to_timestamp and to_date.

Source: PostgreSQL 15 manual, 9.8 (table 9.26 and 9.27); formatting.c (DCH_to_char, DCH_from_char).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from tsdb.errors import FeatureNotSupported
from tsdb.sql.computed.civil import JULIAN_OF_1970, civil, days_of, iso_week
from tsdb.sql.computed.registry import computed
from tsdb.zones import zone

US_PER_DAY = 86_400_000_000
INFINITY = 2**63 - 1
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ROMAN_MONTHS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
# Longest first: the first that fits is taken.
_KEYWORDS = (
    "SSSSS", "Y,YYY", "MONTH", "Month", "month", "IDDD", "IYYY", "SSSS", "YYYY", "A.D.", "A.M.", "B.C.", "P.M.",
    "HH24", "HH12", "DAY", "Day", "day", "DDD", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "IYY", "MON", "Mon", "mon",
    "TZH", "TZM", "YYY", "AD", "AM", "BC", "CC", "DD", "DY", "Dy", "dy", "HH", "ID", "IW", "IY", "MI", "MM", "MS",
    "OF", "PM", "RM", "SS", "TZ", "US", "WW", "YY", "D", "I", "J", "Q", "W", "Y",
)  # fmt: skip
_CASED = frozenset({"MONTH", "Month", "month", "MON", "Mon", "mon", "DAY", "Day", "day", "DY", "Dy", "dy"})
_LOWER = {k.lower(): k for k in _KEYWORDS if k.lower() != k and k not in _CASED}
_WORDS = sorted((*_KEYWORDS, *_LOWER), key=len, reverse=True)
_TOKEN = re.compile(
    r'"((?:[^"\\]|\\.)*)"?|((?:FM|fm|TM|tm|FX|fx)*)(' + "|".join(map(re.escape, _WORDS)) + r")(TH|th|SP)?|\\?(.)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Node:
    """A keyword by its canonical spelling, or a literal ``text``. ``lower`` says that it was written in lower case."""

    keyword: str = ""
    text: str = ""
    fill: bool = False
    ordinal: str = ""
    lower: bool = False
    localized: bool = False


@lru_cache(maxsize=512)
def nodes(template: str) -> tuple[Node, ...]:
    """What a template is made of. FX, which changes no output, is dropped."""
    found: list[Node] = []
    for quoted, prefix, word, suffix, other in _TOKEN.findall(template):
        if word:
            canonical = _LOWER.get(word, word)
            upper = prefix.upper()
            found.append(Node(
                canonical, "", "FM" in upper, "" if suffix == "SP" else suffix, word in _LOWER, "TM" in upper,
            ))  # fmt: skip
        else:
            found.append(Node(text=re.sub(r"\\(.)", r"\1", quoted) if quoted else other))
    return tuple(found)


@dataclass(slots=True)
class Moment:
    """What a template writes: an instant taken apart, or an interval (``days`` None)."""

    year: int
    month: int
    day: int
    us: int
    days: int | None = None
    abbreviation: str | None = None
    offset_s: int = 0

    @property
    def hour(self) -> int:
        return int(self.us / 3_600_000_000)

    def part(self, unit: int, modulus: int) -> int:
        """A part of the clock, with the sign of the whole (an interval may be negative)."""
        value = abs(self.us) // unit % modulus
        return -value if self.us < 0 else value


def ordinal(number: str, style: str) -> str:
    """The English suffix of a number: st, nd, rd, th; ``style`` TH or th says the case."""
    suffix = "th" if number[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
    return suffix.upper() if style == "TH" else suffix


def render(moment: Moment, template: str) -> str:
    """to_char. Raises FeatureNotSupported for a keyword that an interval or a time does not have."""
    parts: list[str] = []
    for node in nodes(template):
        if not node.keyword:
            parts.append(node.text)
            continue
        text = _word(moment, node)
        parts.append(text + ordinal(text.strip(), node.ordinal) if node.ordinal and text.strip() else text)
    return "".join(parts)


def _word(moment: Moment, node: Node) -> str:
    number = _number(moment, node.keyword)
    if number is not None:
        value, width = number
        if node.fill:
            return str(value)
        return f"-{abs(value):0{width}d}" if value < 0 else f"{value:0{width}d}"
    return _name(moment, node)


def _number(moment: Moment, key: str) -> tuple[int, int] | None:
    """(value, width) of a keyword that writes a number."""
    hour = moment.hour
    clock = {
        "HH24": (hour, 2), "HH12": (_twelve(hour), 2), "HH": (_twelve(hour), 2), "MI": (moment.part(60_000_000, 60), 2),
        "SS": (moment.part(1_000_000, 60), 2), "MS": (abs(moment.us) // 1000 % 1000, 3),
        "US": (abs(moment.us) % 1_000_000, 6), "SSSS": (moment.us // 1_000_000, 1),
        "SSSSS": (moment.us // 1_000_000, 1), "DD": (moment.day, 2), "MM": (moment.month, 2),
    }  # fmt: skip
    if key in clock:
        return clock[key]
    if key.startswith("FF"):
        return abs(moment.us) % 1_000_000 // 10 ** (6 - int(key[2])), int(key[2])
    if key in ("YYYY", "YYY", "YY", "Y"):
        year = _shown_year(moment)
        modulus = {4: 0, 3: 1000, 2: 100, 1: 10}[len(key)]
        return year % modulus if modulus else year, len(key)
    if moment.days is None:
        return None
    return _calendar_number(moment, key, moment.days)


def _calendar_number(moment: Moment, key: str, days: int) -> tuple[int, int] | None:
    if key in ("IYYY", "IYY", "IY", "I"):
        iso = iso_week(days)[0]
        modulus = {4: 0, 3: 1000, 2: 100, 1: 10}[len(key)]
        return iso % modulus if modulus else iso, len(key)
    of_year = days - days_of(moment.year, 1, 1) + 1
    if key == "IDDD":
        iso, week = iso_week(days)
        return (week - 1) * 7 + (days + 3) % 7 + 1, 3
    return {
        "CC": (_century(moment.year), 2), "DDD": (of_year, 3), "D": ((days + 4) % 7 + 1, 1),
        "ID": ((days + 3) % 7 + 1, 1), "IW": (iso_week(days)[1], 2), "WW": ((of_year - 1) // 7 + 1, 2),
        "W": ((moment.day - 1) // 7 + 1, 1), "Q": ((moment.month - 1) // 3 + 1, 1), "J": (days + JULIAN_OF_1970, 1),
    }.get(key)  # fmt: skip


def _twelve(hour: int) -> int:
    return -_twelve(-hour) if hour < 0 else hour % 12 or 12


def _shown_year(moment: Moment) -> int:
    return moment.year if moment.days is None or moment.year > 0 else 1 - moment.year


def _century(year: int) -> int:
    return (year + 99) // 100 if year > 0 else -((100 - year) // 100)


def _name(moment: Moment, node: Node) -> str:
    key = node.keyword
    if key in ("AM", "PM", "A.M.", "P.M."):
        text = ("PM" if moment.hour % 24 >= 12 else "AM") if "." not in key else (
            "P.M." if moment.hour % 24 >= 12 else "A.M."
        )  # fmt: skip
        return text.lower() if node.lower else text
    if key == "RM":
        text = ROMAN_MONTHS[(moment.month - 1) % 12] if moment.month else ""
        text = text.lower() if node.lower else text
        return text if node.fill else text.ljust(4)
    if moment.days is None:
        raise FeatureNotSupported("invalid format specification for an interval value", hint="Intervals are not tied "
                                  "to specific calendar dates.")  # fmt: skip
    if key in ("BC", "AD", "B.C.", "A.D."):
        text = "BC" if moment.year <= 0 else "AD"
        text = f"{text[0]}.{text[1]}." if "." in key else text
        return text.lower() if node.lower else text
    if key == "Y,YYY":
        year = _shown_year(moment)
        return f"{year // 1000},{year % 1000:03d}"
    if key in ("TZ", "TZH", "TZM", "OF"):
        return _zone(moment, node)
    long = key.upper() in ("MONTH", "DAY")
    name = MONTHS[moment.month - 1] if key.upper().startswith("MON") else WEEKDAYS[(moment.days + 3) % 7]
    name = name if long else name[:3]
    name = name.upper() if key.isupper() else name.lower() if key.islower() else name
    return name.ljust(9) if long and not node.fill and not node.localized else name


def _zone(moment: Moment, node: Node) -> str:
    if moment.abbreviation is None:
        return "" if node.keyword == "TZ" else "+00" if node.keyword != "TZM" else "00"
    if node.keyword == "TZ":
        return moment.abbreviation.lower() if node.lower else moment.abbreviation
    hours, minutes = divmod(abs(moment.offset_s) // 60, 60)
    sign = "-" if moment.offset_s < 0 else "+"
    if node.keyword == "TZM":
        return f"{minutes:02d}"
    return f"{sign}{hours:02d}" + (f":{minutes:02d}" if node.keyword == "OF" and minutes else "")


@computed("py_to_char_timestamp", "BIGINT", "VARCHAR", "VARCHAR", result="VARCHAR")
def timestamp_text(us: int, template: str, zone_name: str) -> str | None:
    """to_char of a timestamp, ``us`` since 1970; with a zone's name, of an instant in that zone."""
    if abs(us) >= INFINITY - 1 or not template:
        return None
    offset, abbreviation = 0, None
    if zone_name:
        offset = zone(zone_name).offset_s(us)
        abbreviation = _abbreviation(zone_name, us)
    days, clock = divmod(us + offset * 1_000_000, US_PER_DAY)
    year, month, day = civil(days)
    return render(Moment(year, month, day, clock, days, abbreviation, offset), template)


def _abbreviation(name: str, us: int) -> str:
    """CET or CEST; UTC for a moment beyond Python's calendar."""
    try:
        at = datetime.fromtimestamp(
            us // 1_000_000, ZoneInfo(name if name.upper() not in ("UTC", "GMT", "Z") else "UTC")
        )
        return at.tzname() or name
    except (ValueError, OverflowError, OSError, KeyError):
        return name


@computed("py_to_char_interval", "BIGINT", "BIGINT", "BIGINT", "VARCHAR", result="VARCHAR")
def interval_text(months: int, days: int, us: int, template: str) -> str | None:
    """to_char of an interval; a time is one of microseconds alone."""
    if not template:
        return None
    years = int(months / 12)
    return render(Moment(years, months - years * 12, days, us), template)
