"""What clients ask the server about itself: version(), current_database(), current_setting(…), pg_typeof(…)."""

from __future__ import annotations

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, UndefinedFunction
from tsdb.sql import names
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import special
from tsdb.sql.bind.special import VERSION, constant_text
from tsdb.sql.catalog.outline import outline_of
from tsdb.sql.expressions.coercion import coerce, constant
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Scope, Source
from tsdb.types import BOOL, FLOAT8, INT4, NAME, REGTYPE, VOID, array_of


@special("version")
def version(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant_text(VERSION)


@special("current_database")
def current_database(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, binder.context.database)


@special("current_schema")
def current_schema(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, next(iter(names.search_path(binder.context, binder.database)), None))


@special("current_schemas")
def current_schemas(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """The namespaces of the search path that are there; ``current_schemas(true)`` with pg_catalog and the session's
    temporary one before them."""
    if len(arguments) != 1:
        raise UndefinedFunction(f"function current_schemas with {len(arguments)} arguments does not exist")
    implicit = coerce(binder.bind(arguments[0], scope), BOOL, binder.context)
    if not isinstance(implicit.value, bool):
        raise FeatureNotSupported("current_schemas needs a constant")
    outline = outline_of(binder.catalog, binder.context.database)
    there = outline.namespaces
    found = [name for name in names.path_names(binder.context) if name in there]
    if implicit.value and "pg_catalog" not in found:
        found.insert(0, "pg_catalog")
    own = names.temporary_schema(binder.context)
    if implicit.value and own in outline.temporary:
        found.insert(0, own)
    return constant(array_of(NAME), found)


@special("current_user", "session_user", "user")
def current_user(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, binder.context.user)


@special("pg_client_encoding")
def pg_client_encoding(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, binder.context.settings.get("client_encoding", "UTF8"))


@special("pg_backend_pid")
def pg_backend_pid(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(INT4, binder.context.backend_pid)


@special("pg_typeof")
def pg_typeof(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    sql_type = binder.bind(arguments[0], scope).type
    return Expr(f"CAST({sql_type.oid} AS BIGINT)", REGTYPE, "call")


@special("pg_sleep")
def pg_sleep(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """Waits as a relation of one row that comes late, so that cancel and deadlines reach it."""
    seconds = coerce(binder.bind(arguments[0], scope), FLOAT8, binder.context)
    if not isinstance(seconds.value, float | int) or seconds.op not in ("literal", "cast"):
        raise FeatureNotSupported("pg_sleep needs a constant number of seconds")
    source = binder.source(Source(len(binder.sources) + 1, delay_seconds=float(seconds.value)))
    sql = f"(SELECT s.{source.use('void')} FROM {source.name} AS s)"
    return Expr(sql, VOID, "subquery", stable=False)


@special("grouping")
def grouping(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    sql = f"CAST(grouping({', '.join(a.sql for a in args)}) AS INTEGER)"
    return Expr(sql, INT4, "aggregate", tuple(args), aggregate=True)
