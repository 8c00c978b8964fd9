"""to_timestamp and to_date: a text read by a template.

Source: PostgreSQL 15 manual, 9.8.1 (usage notes); formatting.c (DCH_from_char, do_to_timestamp).
"""

from __future__ import annotations

import re

from tsdb.errors import DatetimeFieldOverflow, FeatureNotSupported, InvalidDatetimeFormat
from tsdb.sql.computed.civil import JULIAN_OF_1970, days_in_month, days_of, first_of_iso_week
from tsdb.sql.computed.datetime_template import MONTHS, ROMAN_MONTHS, US_PER_DAY, WEEKDAYS, Node, nodes
from tsdb.sql.computed.registry import computed
from tsdb.zones import zone

_WIDTHS = {
    "YYYY": 4, "YYY": 3, "YY": 2, "Y": 1, "IYYY": 4, "IYY": 3, "IY": 2, "I": 1, "MM": 2, "DD": 2, "DDD": 3, "IDDD": 3,
    "HH24": 2, "HH12": 2, "HH": 2, "MI": 2, "SS": 2, "MS": 3, "US": 6, "SSSS": 5, "SSSSS": 5, "WW": 2, "IW": 2,
    "W": 1, "D": 1, "ID": 1, "Q": 1, "CC": 2, "J": 9, "TZM": 2,
    "FF1": 1, "FF2": 2, "FF3": 3, "FF4": 4, "FF5": 5, "FF6": 6,
}  # fmt: skip
_SEPARATOR = re.compile(r"[^0-9A-Za-z]*")


def _names(keyword: str) -> tuple[str, ...]:
    upper = keyword.upper()
    if upper.startswith("MON"):
        return MONTHS if upper == "MONTH" else tuple(m[:3] for m in MONTHS)
    return WEEKDAYS if upper == "DAY" else tuple(d[:3] for d in WEEKDAYS)


class _Reading:
    """A text being read by a template; ``fields`` are the numbers found by keyword."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.fields: dict[str, int] = {}

    def blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, node: Node, limited: bool) -> None:
        key = node.keyword
        self.blanks()
        if key in _WIDTHS:
            self._number(key, _WIDTHS[key] if limited and not node.fill else 18)
        elif key == "Y,YYY":
            found = self._match(r"(\d+),(\d{3})", key)
            self.fields["YYYY"] = int(found[1]) * 1000 + int(found[2])
        elif key in ("AM", "PM", "A.M.", "P.M."):
            self.fields["PM"] = int(self._match(r"[aApP]\.?[mM]\.?", key)[0][0] in "pP")
        elif key in ("AD", "BC", "A.D.", "B.C."):
            self.fields["BC"] = int(self._match(r"[aA]\.?[dD]\.?|[bB]\.?[cC]\.?", key)[0][0] in "bB")
        elif key == "RM":
            self.fields["MM"] = self._one_of(ROMAN_MONTHS, key) + 1
        elif key in ("TZH", "OF", "TZ"):
            found = self._match(r"([+-]?)(\d{1,2})(?::(\d{2}))?" if key != "TZH" else r"([+-]?)(\d{1,2})()", key)
            minutes = int(found[2]) * 60 + int(found[3] or 0)
            self.fields["TZ"] = -minutes if found[1] == "-" else minutes
        else:
            index = self._one_of(_names(key), key)
            if key.upper().startswith("MON"):
                self.fields["MM"] = index + 1
            else:
                self.fields["D"] = (index + 1) % 7 + 1
        if node.ordinal:
            self.at = min(len(self.text), self.at + 2)

    def _number(self, key: str, width: int) -> None:
        found = re.compile(rf"[+-]?\d{{1,{width}}}").match(self.text, self.at)
        if found is None:
            shown = self.text[self.at : self.at + width] or ""
            raise InvalidDatetimeFormat(f'invalid value "{shown}" for "{key}"', detail="Value must be an integer.")
        self.at = found.end()
        digits = found[0]
        if key.startswith("FF") or key in ("MS", "US"):
            self.fields["US"] = int(digits.ljust(6, "0")[:6])
        elif key in ("YYY", "YY", "Y"):
            self.fields["YYYY"] = _whole_year(int(digits), len(digits))
        elif key in ("IYY", "IY", "I"):
            self.fields["IYYY"] = _whole_year(int(digits), len(digits))
        else:
            self.fields[key] = int(digits)

    def _match(self, pattern: str, key: str) -> re.Match[str]:
        found = re.compile(pattern).match(self.text, self.at)
        if found is None:
            raise InvalidDatetimeFormat(
                f'invalid value "{self.text[self.at : self.at + 4]}" for "{key}"',
                detail="The given value did not match any of the allowed values for this field.",
            )
        self.at = found.end()
        return found

    def _one_of(self, names: tuple[str, ...], key: str) -> int:
        rest = self.text[self.at :].lower()
        fitting = [(len(n), i) for i, n in enumerate(names) if rest.startswith(n.lower())]
        if not fitting:
            self._match(r"(?!)", key)
        length, index = max(fitting)
        self.at += length
        return index


def _whole_year(value: int, digits: int) -> int:
    """Two and three digits are years near 2020, as formatting.c's adjust_partial_year_to_2020 has it."""
    if digits >= 4 or value >= 1000:
        return value
    if value < 70:
        return value + 2000
    return value + 1900 if value < 100 else value + (2000 if value < 520 else 1000)


def _read(text: str, template: str) -> dict[str, int]:
    reading = _Reading(text)
    parts = nodes(template)
    for index, node in enumerate(parts):
        if reading.at >= len(text) and index:
            # The rest of the template is not in the text: it stands at its default.
            break
        if node.keyword:
            following = parts[index + 1] if index + 1 < len(parts) else None
            reading.take(node, following is not None and bool(following.keyword))
        elif node.text.isspace() or not node.text.isalnum():
            found = _SEPARATOR.match(text, reading.at)
            assert found is not None
            sign = found[0][-1:] in ("-", "+") and _is_zone(parts, index)
            reading.at = found.end() - 1 if sign else found.end()
        else:
            reading.at = min(len(text), reading.at + len(node.text))
    return reading.fields


def _is_zone(parts: tuple[Node, ...], index: int) -> bool:
    return index + 1 < len(parts) and parts[index + 1].keyword in ("TZH", "OF", "TZ")


def _day(fields: dict[str, int], text: str) -> int:
    """Days since 1970 of what was read."""
    if "J" in fields:
        return fields["J"] - JULIAN_OF_1970
    if "IYYY" in fields:
        if "IDDD" in fields:
            return first_of_iso_week(fields["IYYY"], 1) + fields["IDDD"] - 1
        return first_of_iso_week(fields["IYYY"], fields.get("IW", 1)) + fields.get("ID", 1) - 1
    year = fields.get("YYYY", 0)
    if "CC" in fields and "YYYY" not in fields:
        year = (fields["CC"] - 1) * 100 + 1
    if fields.get("BC") and year > 0:
        year = 1 - year
    elif "YYYY" not in fields and "CC" not in fields:
        year = 0
    if "DDD" in fields:
        return days_of(year, 1, 1) + fields["DDD"] - 1
    if "WW" in fields and "MM" not in fields:
        return days_of(year, 1, 1) + (fields["WW"] - 1) * 7
    month, day = fields.get("MM", 1), fields.get("DD", 1)
    if "W" in fields and "DD" not in fields:
        day = (fields["W"] - 1) * 7 + 1
    if not 1 <= month <= 12 or not 1 <= day <= days_in_month(year, month):
        raise DatetimeFieldOverflow(f'date/time field value out of range: "{text}"')
    return days_of(year, month, day)


def _clock(fields: dict[str, int], text: str) -> int:
    """Microseconds of the day."""
    seconds = fields.get("SSSSS", fields.get("SSSS"))
    hour = fields.get("HH24", 0)
    for key in ("HH12", "HH"):
        if key in fields:
            hour = fields[key]
            if "PM" in fields or key == "HH12":
                if not 1 <= hour <= 12:
                    raise InvalidDatetimeFormat(
                        f'hour "{hour}" is invalid for the 12-hour clock',
                        hint="Use the 24-hour clock, or give an hour between 1 and 12.",
                    )
                hour = hour % 12 + (12 if fields.get("PM") else 0)
    minute, second = fields.get("MI", 0), fields.get("SS", 0)
    if not 0 <= hour <= 24 or not 0 <= minute <= 59 or not 0 <= second <= 60:
        raise DatetimeFieldOverflow(f'date/time field value out of range: "{text}"')
    total = seconds if seconds is not None else hour * 3600 + minute * 60 + second
    return total * 1_000_000 + fields.get("US", 0)


@computed("py_to_timestamp", "VARCHAR", "VARCHAR", "VARCHAR", result="BIGINT")
def to_timestamp(text: str, template: str, zone_name: str) -> int:
    """Microseconds since 1970 UTC; without a zone in the text it is a local time of ``zone_name``."""
    fields = _read(text, template)
    local = _day(fields, text) * US_PER_DAY + _clock(fields, text)
    if "TZ" in fields:
        minutes = fields["TZ"] + (fields.get("TZM", 0) if fields["TZ"] >= 0 else -fields.get("TZM", 0))
        return local - minutes * 60_000_000
    return zone(zone_name).utc_us(local)


@computed("py_to_date", "VARCHAR", "VARCHAR", result="BIGINT")
def to_date(text: str, template: str) -> int:
    """Days since 1970."""
    if any(n.keyword in ("TZH", "OF", "TZ") for n in nodes(template)):
        raise FeatureNotSupported("a time zone in a template of to_date is not supported")
    return _day(_read(text, template), text)
