"""What clients ask the server about itself: version(), current_database(), current_setting(…), pg_typeof(…)."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, UndefinedObject
from tsdb.sql.bind_calls import special
from tsdb.sql.bind_special import VERSION, VERSION_NUMBER, constant_text
from tsdb.sql.binder import Binder
from tsdb.sql.coercion import constant
from tsdb.sql.expression import Expr
from tsdb.sql.relation import Scope
from tsdb.types import BOOL, INT4, NAME, TEXT, array_of

_DEFAULTS = {
    "server_version": "15.18", "server_version_num": VERSION_NUMBER, "server_encoding": "UTF8",
    "client_encoding": "UTF8", "search_path": '"$user", public', "timezone": "UTC", "datestyle": "ISO, MDY",
    "intervalstyle": "postgres", "standard_conforming_strings": "on", "integer_datetimes": "on",
    "max_identifier_length": "63", "transaction_isolation": "read committed", "is_superuser": "on",
}  # fmt: skip


@special("version")
def version(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant_text(VERSION)


@special("current_database")
def current_database(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, binder.context.database)


@special("current_schema")
def current_schema(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, "public")


@special("current_schemas")
def current_schemas(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(array_of(TEXT), ["pg_catalog", "public"])


@special("current_user", "session_user", "user")
def current_user(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(NAME, binder.context.user)


@special("pg_backend_pid")
def pg_backend_pid(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant(INT4, binder.context.backend_pid)


@special("pg_typeof")
def pg_typeof(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return constant_text(binder.bind(arguments[0], scope).type.name)


@special("current_setting")
def current_setting(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    name = binder.bind(arguments[0], scope)
    if name.op != "literal" or not isinstance(name.value, str):
        raise FeatureNotSupported("current_setting needs a constant name")
    value = binder.context.settings.get(name.value.lower(), _DEFAULTS.get(name.value.lower()))
    if value is None:
        if len(arguments) == 2:
            return Expr("CAST(NULL AS VARCHAR)", TEXT, "literal")
        raise UndefinedObject(f'unrecognized configuration parameter "{name.value}"')
    return constant_text(value)


@special("has_table_privilege", "has_schema_privilege", "has_database_privilege", "has_column_privilege")
def has_privilege(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return replace(constant(BOOL, True), stable=True)
