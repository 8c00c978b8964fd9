"""Names of relations: which one a name means in a session, and where a new one goes.

An unqualified name is looked for in the session's temporary schema, then in the schemas of ``search_path``. Temporary
tables are in a schema of their own for each session, named by its backend's number.

Source: PostgreSQL 15 manual, 5.9.3 (the schema search path).
"""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidSchemaName, UndefinedTable, WrongObjectType
from tsdb.model.catalog import Database, Relation
from tsdb.model.enums import EnumType
from tsdb.model.relations import PUBLIC, SYSTEM_VIEWS, TEMPORARY, SqlSequence, SqlView, path_of
from tsdb.model.schema import Series
from tsdb.sql import lexer, trees
from tsdb.sql.context import Context
from tsdb.sql.statement import Fragment
from tsdb.types import SqlType

_DEFAULT_PATH = '"$user", public'
_SYSTEM = ("pg_catalog", "information_schema")


def temporary_schema(context: Context) -> str:
    return f"{TEMPORARY}{context.backend_pid}"


def path_names(context: Context) -> list[str]:
    """The names in ``search_path``, whether there are such schemas or not; the system's own views are found by their
    schema alone, though the first user is called as it is."""
    named = _named_in(context.settings.get("search_path", _DEFAULT_PATH))
    return [n for name in named if (n := context.user if name == "$user" else name) != SYSTEM_VIEWS]


@lru_cache(maxsize=64)
def _named_in(path: str) -> tuple[str, ...]:
    return tuple(t.value for t in lexer.tokens(path) if t.kind in ("word", "quoted", "string"))


def search_path(context: Context, database: Database) -> list[str]:
    """The schemas of ``search_path`` that are there, in its order; the temporary one and pg_catalog left out."""
    names = path_names(context)
    return [n for n in dict.fromkeys(names) if n == PUBLIC or n in database.namespaces]


def find(context: Context, database: Database, schema: str, name: str) -> Relation | None:
    """The relation that a name means, None if there is none. ``schema`` empty: unqualified."""
    if schema:
        return database.relation(path_of(_own(context, schema), name))
    if context.backend_pid:
        found = database.relation(path_of(temporary_schema(context), name))
        if found is not None:
            return found
    for each in search_path(context, database):
        found = database.relation(path_of(each, name))
        if found is not None:
            return found
    return None


def find_type(context: Context, database: Database, schema: str, name: str) -> EnumType | None:
    """The type of the database's own that a name means. ``schema`` empty: unqualified."""
    if not database.types:
        return None
    for each in (schema,) if schema else search_path(context, database):
        found = database.types.get(path_of(each, name))
        if found is not None:
            return found
    return None


def sql_type(context: Context, database: Database, schema: str, name: str) -> SqlType | None:
    """The same as a type of values; ``_name`` is its array."""
    found = find_type(context, database, schema, name)
    if found is not None:
        return found.sql_type
    element = find_type(context, database, schema, name[1:]) if name.startswith("_") else None
    return None if element is None else element.array_type


def _own(context: Context, schema: str) -> str:
    return temporary_schema(context) if schema == "pg_temp" else schema


def shown(schema: str, name: str) -> str:
    return f"{schema}.{name}" if schema else name


def require(context: Context, database: Database, schema: str, name: str, what: str = "relation") -> Relation:
    """Raises UndefinedTable, InvalidSchemaName."""
    found = find(context, database, schema, name)
    if found is not None:
        return found
    if schema and not _schema_is_there(context, database, schema):
        raise InvalidSchemaName(f'schema "{schema}" does not exist')
    raise UndefinedTable(f'{what} "{shown(schema, name)}" does not exist')


def _schema_is_there(context: Context, database: Database, schema: str) -> bool:
    return schema in (PUBLIC, "pg_temp", temporary_schema(context), *_SYSTEM) or schema in database.namespaces


def creation_schema(context: Context, database: Database, schema: str) -> str:
    """Where a new relation goes. Raises InvalidSchemaName."""
    if schema in _SYSTEM:
        raise FeatureNotSupported(f'nothing can be created in the schema "{schema}"')
    if schema:
        if not _schema_is_there(context, database, schema):
            raise InvalidSchemaName(f'schema "{schema}" does not exist')
        return _own(context, schema)
    path = search_path(context, database)
    if not path:
        raise InvalidSchemaName("no schema has been selected to create in")
    return path[0]


def target_series(
    context: Context, database: Database, table: exp.Expr, verb: str, fragment: Fragment | None = None
) -> Series:
    """The series that INSERT, UPDATE, DELETE or TRUNCATE names; ``fragment``: whose errors have a place.

    Raises UndefinedTable, WrongObjectType …
    """
    catalog = table.args.get("catalog")
    schema = trees.name_of(table.args["db"]) if table.args.get("db") is not None else ""
    if catalog is not None and trees.name_of(catalog) != database.name:
        raise FeatureNotSupported(f'cross-database references are not implemented: "{table.sql()}"')
    name = trees.name_of(table)
    found = find(context, database, schema, name)
    if found is None:
        start = trees.start_of(table.args.get("db") or table.this) if fragment is not None else None
        position = start + 1 + fragment.offset if fragment is not None and start is not None else None
        raise UndefinedTable(f'relation "{shown(schema, name)}" does not exist', position=position)
    return writable(found, verb)


def writable(found: Relation, verb: str) -> Series:
    """A relation as what rows can be written to. Raises WrongObjectType, FeatureNotSupported."""
    if isinstance(found, SqlView):
        raise FeatureNotSupported(
            f'cannot {verb} view "{found.name}"', hint="Views are not updatable: write to the table itself."
        )
    if isinstance(found, SqlSequence):
        raise WrongObjectType(f'cannot {verb} sequence "{found.name}"')
    if found.definition is not None:
        raise WrongObjectType(f'cannot change materialized view "{found.name}"')
    return found
