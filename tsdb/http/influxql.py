"""The few InfluxQL statements that line-protocol clients send to ``/query`` when they start.

Telegraf sends ``CREATE DATABASE "telegraf"``; others look with SHOW DATABASES, SHOW MEASUREMENTS and SHOW RETENTION
POLICIES.
Everything else is answered with an error that points to SQL. Pure: gives the schema changes to make and the rows to
show.

Source: InfluxDB 1.8 manual, "Influx Query Language (InfluxQL) reference", and its HTTP API's JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tsdb.errors import InvalidCatalogName, SqlSyntaxError
from tsdb.model import authorization
from tsdb.model.relations import PUBLIC
from tsdb.model.roles import FIRST
from tsdb.model.schema import Catalog, CreateDatabase, Database, Role, SchemaChange, Series

_NAME = r"(?:\"((?:[^\"\\]|\\.)+)\"|([A-Za-z_][A-Za-z0-9_]*))"
_CREATE = re.compile(rf"CREATE\s+DATABASE\s+{_NAME}(?:\s+WITH\s.*)?", re.IGNORECASE | re.DOTALL)
_SHOW_DATABASES = re.compile(r"SHOW\s+DATABASES", re.IGNORECASE)
_SHOW_MEASUREMENTS = re.compile(rf"SHOW\s+MEASUREMENTS(?:\s+ON\s+{_NAME})?(?:\s+LIMIT\s+\d+)?", re.IGNORECASE)
_SHOW_POLICIES = re.compile(rf"SHOW\s+RETENTION\s+POLICIES(?:\s+ON\s+{_NAME})?", re.IGNORECASE)
_SHOW_TAGS = re.compile(rf"SHOW\s+TAG\s+KEYS(?:\s+ON\s+{_NAME})?", re.IGNORECASE)
_MARK = re.compile(r"""\\.|["';]""", re.DOTALL)
MAX_QUERY_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One statement's outcome: changes to make, and InfluxQL's ``series`` of rows."""

    changes: tuple[SchemaChange, ...] = ()
    series: list[dict[str, Any]] = field(default_factory=list)


def answer(text: str, database: str | None, catalog: Catalog, role: int = FIRST) -> list[Answer]:
    """An answer for each statement in ``text``, to a role.

    Raises SqlSyntaxError, InvalidCatalogName, InsufficientPrivilege.
    """
    if len(text) > MAX_QUERY_CHARACTERS:
        raise SqlSyntaxError(f"error parsing query: longer than {MAX_QUERY_CHARACTERS} characters")
    return [_answer(statement, database, catalog, role) for statement in _statements(text)]


def _statements(text: str) -> list[str]:
    """The statements between semicolons outside quotes, in one pass whatever the text is."""
    borders, quote = [-1], ""
    for found in _MARK.finditer(text):
        mark = found.group()
        if quote:
            quote = "" if mark == quote else quote
        elif mark == ";":
            borders.append(found.start())
        elif mark in "\"'":
            quote = mark
    if quote:
        raise SqlSyntaxError(f"error parsing query: unterminated quoted text, {quote} is missing at the end")
    borders.append(len(text))
    parts = (text[start + 1 : end].strip() for start, end in pairwise(borders))
    return [part for part in parts if part]


def _answer(statement: str, database: str | None, catalog: Catalog, role: int) -> Answer:
    if found := _CREATE.fullmatch(statement):
        return Answer((CreateDatabase(_name(found) or "", if_not_exists=True),))
    if _SHOW_DATABASES.fullmatch(statement):
        return Answer(series=[_rows("databases", ["name"], [[name] for name in sorted(catalog.databases)])])
    if found := _SHOW_MEASUREMENTS.fullmatch(statement):
        names = sorted(s.name for s in _measurements(_database(_name(found) or database, catalog, role)))
        return Answer(series=[_rows("measurements", ["name"], [[name] for name in names])] if names else [])
    if found := _SHOW_POLICIES.fullmatch(statement):
        _database(_name(found) or database, catalog, role)
        columns = ["name", "duration", "shardGroupDuration", "replicaN", "default"]
        return Answer(series=[{"columns": columns, "values": [["autogen", "0s", "168h0m0s", 1, True]]}])
    if found := _SHOW_TAGS.fullmatch(statement):
        series = _measurements(_database(_name(found) or database, catalog, role))
        keys = {s.name: [[c.name] for c in s.columns if c.role is Role.TAG] for s in series}
        return Answer(series=[_rows(name, ["tagKey"], values) for name, values in sorted(keys.items()) if values])
    raise SqlSyntaxError(
        f"error parsing query: {statement[:80]!r} is not supported here; query with SQL over the PostgreSQL port"
    )


def _measurements(database: Database) -> list[Series]:
    """The series that line protocol writes to: those of the schema public."""
    return [s for s in database.series.values() if s.schema == PUBLIC and s.definition is None]


def _name(found: re.Match[str]) -> str | None:
    quoted, plain = found.group(1), found.group(2)
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain


def _database(name: str | None, catalog: Catalog, role: int) -> Any:
    if not name:
        raise SqlSyntaxError("database name required")
    if name not in catalog.databases:
        raise InvalidCatalogName(f"database not found: {name}")
    authorization.check_connect(catalog, role, catalog.databases[name])
    return catalog.databases[name]


def _rows(name: str, columns: list[str], values: list[list[Any]]) -> dict[str, Any]:
    return {"name": name, "columns": columns, "values": values}
