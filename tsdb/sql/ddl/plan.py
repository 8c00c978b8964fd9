"""What a DDL statement does, as a value; and the reader that DDL is read with."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import FeatureNotSupported, WrongObjectType
from tsdb.model.catalog import Catalog, Relation
from tsdb.model.relations import SqlSequence, SqlView
from tsdb.model.schema import SchemaChange, Series
from tsdb.sql import names
from tsdb.sql.context import Context
from tsdb.sql.notice import Notice, notice
from tsdb.sql.reader import Reader
from tsdb.sql.statement import Fragment
from tsdb.types import SqlType


@dataclass(frozen=True, slots=True)
class Source:
    """The query of CREATE TABLE AS, CREATE [MATERIALIZED] VIEW: what is made gets the query's columns, named by
    ``columns`` where they are given, and, unless it is a view or ``empty``, its rows."""

    kind: str
    text: Fragment
    schema: str
    name: str
    columns: tuple[str, ...] = ()
    empty: bool = False
    options: tuple[tuple[str, str], ...] = ()
    replace: bool = False
    on_commit: str = ""


@dataclass(frozen=True, slots=True)
class Refresh:
    """REFRESH MATERIALIZED VIEW of what is at ``path``; ``empty``: WITH NO DATA."""

    path: str
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """A sequence (by its path) is to give ``value`` next."""

    path: str
    value: int


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """What a DDL statement does: ``changes`` in one go, ``notices`` and the command ``tag`` for the client; then
    ``restarts``. With ``source`` or ``refresh`` a query has its part in it, and ``changes`` are empty. ``on_commit``:
    what the end of the transaction does with a temporary table, drop or delete (its rows)."""

    tag: str
    changes: tuple[SchemaChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    source: Source | None = None
    refresh: Refresh | None = None
    restarts: tuple[Restart, ...] = ()
    on_commit: str = ""


def kind_of(relation: Relation) -> str:
    if isinstance(relation, SqlView):
        return "view"
    if isinstance(relation, SqlSequence):
        return "sequence"
    return "table" if relation.definition is None else "materialized view"


class DdlReader(Reader):
    """Reads names as what they mean in a session."""

    def __init__(self, fragment: Fragment, context: Context, catalog: Catalog) -> None:
        super().__init__(fragment)
        self.context = context
        self.catalog = catalog
        self.database = catalog.find(context.database)

    def qualified(self) -> tuple[str, str]:
        """(schema or nothing, name); the database's name may come before."""
        parts = [self.name()]
        while self.accept_sign("."):
            parts.append(self.name())
        if len(parts) > 3 or (len(parts) == 3 and parts[0] != self.database.name):
            raise FeatureNotSupported(f'cross-database references are not implemented: "{".".join(parts)}"')
        return ("", parts[0]) if len(parts) == 1 else (parts[-2], parts[-1])

    def own_type(self, schema: str, name: str) -> SqlType | None:
        return names.sql_type(self.context, self.database, schema, name)

    def new_relation(self, *, temporary: bool = False) -> tuple[str, str]:
        """(schema, name) of what is to be made."""
        schema, name = self.qualified()
        if temporary:
            if schema not in ("", "pg_temp"):
                raise FeatureNotSupported("cannot create temporary relation in non-temporary schema")
            return names.temporary_schema(self.context), name
        return names.creation_schema(self.context, self.database, schema), name

    def stored(self, kind: str) -> Relation:
        """What a name means, of this kind ("relation": any). Raises UndefinedTable, WrongObjectType."""
        found = self.stored_or_notice(kind, if_exists=False)
        assert not isinstance(found, Notice)
        return found

    def stored_or_notice(self, kind: str, *, if_exists: bool) -> Relation | Notice:
        """The same; with IF EXISTS a notice where there is none."""
        schema, name = self.qualified()
        found = names.find(self.context, self.database, schema, name)
        if found is None:
            if if_exists:
                return notice(f'{_said(kind)} "{names.shown(schema, name)}" does not exist, skipping')
            found = names.require(self.context, self.database, schema, name, _said(kind))
        if kind != "relation" and kind_of(found) != kind:
            article = f"{'a ' if kind != 'index' else 'an '}{kind}"
            hint = f"Use DROP {kind_of(found).upper()} to remove it." if self.tokens[0].is_word("drop") else None
            raise WrongObjectType(f'"{name}" is not {article}', hint=hint)
        return found

    def series(self) -> Series:
        """A table that can be altered."""
        found = self.stored("table")
        assert isinstance(found, Series)
        return found

    def column_of(self) -> tuple[str, str]:
        """``[schema.]table.column``: (path, column)."""
        parts = [self.name()]
        while self.accept_sign("."):
            parts.append(self.name())
        if len(parts) < 2:
            raise self.error()
        schema = parts[-3] if len(parts) > 2 else ""
        found = names.require(self.context, self.database, schema, parts[-2])
        return found.path, parts[-1]


def _said(kind: str) -> str:
    return kind if kind != "index" else "relation"
