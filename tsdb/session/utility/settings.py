"""SET, RESET, SHOW and DISCARD.

Source of the grammar: PostgreSQL 15 manual, part VI; gram.y.
"""

from __future__ import annotations

from tsdb.errors import InvalidParameterValue
from tsdb.session.utility.command import (
    Accepted,
    Command,
    Discard,
    Reset,
    Set,
    SetRole,
    SetSessionAuthorization,
    Show,
    ShowTokens,
)
from tsdb.session.utility.transactions import modes
from tsdb.sql import intervals
from tsdb.sql.reader import Reader
from tsdb.sql.settings import hours_zone


def set_(reader: Reader) -> Command:
    local = False
    if reader.accept("session", "characteristics", "as", "transaction"):
        return Set(tuple(("default_" + name, value) for name, value in modes(reader)))
    if reader.accept_any("session", "local") == "local":
        local = True
    if reader.accept("transaction"):
        return Set(modes(reader), local=True)
    if reader.accept("time", "zone"):
        return Set((("TimeZone", _zone(reader)),), local)
    if reader.accept("role"):
        _ = reader.accept_sign("=") or reader.accept("to")
        return SetRole(_role(reader, "none"), local)
    if reader.accept("authorization") or reader.accept("session", "authorization"):
        return SetSessionAuthorization(_role(reader, "default"), local)
    if reader.accept("constraints"):
        reader.rest()
        return Accepted("SET CONSTRAINTS")
    if reader.accept("names"):
        return Set((("client_encoding", reader.string()),), local)
    name = _setting_name(reader)
    if not reader.accept_sign("="):
        reader.expect("to")
    if name == "timezone":
        return Set((("TimeZone", _zone(reader)),), local)
    return Set(((name, _value(reader)),), local)


def _setting_name(reader: Reader) -> str:
    name = reader.name()
    while reader.accept_sign("."):
        name += "." + reader.name()
    return name


def _value(reader: Reader) -> str | None:
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


def _role(reader: Reader, nobody: str) -> str | None:
    """A role's name, as a name or a string; None for the word that means no role."""
    token = reader.take()
    if token.kind not in ("word", "quoted", "string"):
        reader.at -= 1
        raise reader.error()
    return None if token.value == nobody and token.kind != "quoted" else token.value


def _zone(reader: Reader) -> str | None:
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


def reset(reader: Reader) -> Command:
    if reader.accept("all"):
        return Reset(None)
    if reader.accept("time", "zone"):
        return Reset("TimeZone")
    if reader.accept("transaction", "isolation", "level"):
        return Reset("transaction_isolation")
    if reader.accept("role"):
        return SetRole(None, tag="RESET")
    if reader.accept("session", "authorization"):
        return SetSessionAuthorization(None, tag="RESET")
    return Reset(_setting_name(reader))


def show(reader: Reader) -> Command:
    if reader.accept("all"):
        return Show(None)
    if reader.accept("time", "zone"):
        return Show("TimeZone")
    if reader.accept("transaction", "isolation", "level"):
        return Show("transaction_isolation")
    if reader.accept("session", "authorization"):
        return Show("session_authorization")
    if reader.accept("tokens"):
        return ShowTokens()
    return Show(_setting_name(reader))


def discard(reader: Reader) -> Command:
    word = reader.accept_any("all", "plans", "sequences", "temp", "temporary")
    if word is None:
        raise reader.error()
    return Discard("temp" if word == "temporary" else word)
