"""Settings and their values as SET, ALTER ROLE and ALTER DATABASE write them.

Source of the grammar: PostgreSQL 15 manual, SET; gram.y (var_name, var_list, zone_value).
"""

from __future__ import annotations

from tsdb.errors import InvalidParameterValue
from tsdb.sql import intervals
from tsdb.sql.reader import Reader
from tsdb.sql.settings import hours_zone


def name_of(reader: Reader) -> str:
    """A setting's name, with dots in it where it is a client's own."""
    name = reader.name()
    while reader.accept_sign("."):
        name += "." + reader.name()
    return name


def value_of(reader: Reader) -> str | None:
    """One value or a list, as the text that is kept; None is DEFAULT."""
    if reader.accept("default"):
        return None
    values = [_one_value(reader)]
    while reader.accept_sign(","):
        values.append(_one_value(reader))
    return ", ".join(values)


def _one_value(reader: Reader) -> str:
    sign = "-" if reader.accept_sign("-") else ""
    reader.accept_sign("+")
    token = reader.take()
    if token.kind not in ("word", "quoted", "string", "number"):
        reader.at -= 1
        raise reader.error()
    if token.kind == "quoted" and not token.value.replace("_", "a").isalnum():
        return f'"{token.value}"'
    return sign + token.value


def zone_of(reader: Reader) -> str | None:
    """A time zone; None is DEFAULT. Raises InvalidParameterValue."""
    if reader.accept_any("default", "local"):
        return None
    if reader.accept("interval"):
        text = reader.string()
        if reader.accept("hour"):
            reader.accept("to", "minute")
        interval = intervals.parse(text)
        if interval.months or interval.days:
            raise InvalidParameterValue(f'time zone interval "{text}" must not include months or days')
        return hours_zone(interval.microseconds / 3_600_000_000)
    token = reader.peek()
    # A quoted name is a zone as well: "Etc/UTC" (manual, SET TIME ZONE).
    return reader.take().value if token is not None and token.kind == "quoted" else _one_value(reader)
