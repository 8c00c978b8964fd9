"""SET, RESET, SHOW and DISCARD.

Source of the grammar: PostgreSQL 15 manual, part VI; gram.y.
"""

from __future__ import annotations

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
from tsdb.sql import setting_text
from tsdb.sql.reader import Reader


def set_(reader: Reader) -> Command:
    local = False
    if reader.accept("session", "characteristics", "as", "transaction"):
        return Set(tuple(("default_" + name, value) for name, value in modes(reader)))
    if reader.accept_any("session", "local") == "local":
        local = True
    if reader.accept("transaction"):
        return Set(modes(reader), local=True)
    if reader.accept("time", "zone"):
        return Set((("TimeZone", setting_text.zone_of(reader)),), local)
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
    name = setting_text.name_of(reader)
    if not reader.accept_sign("="):
        reader.expect("to")
    if name == "timezone":
        return Set((("TimeZone", setting_text.zone_of(reader)),), local)
    return Set(((name, setting_text.value_of(reader)),), local)


def _role(reader: Reader, nobody: str) -> str | None:
    """A role's name, as a name or a string; None for the word that means no role."""
    token = reader.take()
    if token.kind not in ("word", "quoted", "string"):
        reader.at -= 1
        raise reader.error()
    return None if token.value == nobody and token.kind != "quoted" else token.value


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
    return Reset(setting_text.name_of(reader))


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
    return Show(setting_text.name_of(reader))


def discard(reader: Reader) -> Command:
    word = reader.accept_any("all", "plans", "sequences", "temp", "temporary")
    if word is None:
        raise reader.error()
    return Discard("temp" if word == "temporary" else word)
