"""Functions of the catalog that return rows of their arguments; those without arguments are in ``relations``."""

from __future__ import annotations

from tsdb.errors import UndefinedFunction
from tsdb.sql.bind import session
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.sets import returns_set
from tsdb.sql.catalog.calls import MARKER
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.types import ACLITEM, BOOL, INT4, OID, REGCLASS, TEXT, SqlType, array_of


def _one(name: str, args: list[Expr]) -> Expr:
    if len(args) != 1:
        raise UndefinedFunction(f"function {name} with {len(args)} arguments does not exist")
    return args[0]


def _listed(listed: str, like: Expr, name: str, sql_type: SqlType = TEXT) -> Expr:
    return combine(f"unnest({listed})", sql_type, "set", (like,), name=name)


@returns_set("_pg_expandarray")
def expand_array(binder: Binder, args: list[Expr]) -> list[Expr]:
    """information_schema._pg_expandarray: an array's values and their places from 1."""
    array = _one("_pg_expandarray", args)
    if array.type.element is None:
        raise UndefinedFunction(f"function _pg_expandarray({array.type.name}) does not exist")
    places = f"list_transform(range(1, len({array.sql}) + 1), lambda pg_item: CAST(pg_item AS INTEGER))"
    return [_listed(array.sql, array, "x", array.type.element), _listed(places, array, "n", INT4)]


@returns_set("pg_options_to_table")
def options(binder: Binder, args: list[Expr]) -> list[Expr]:
    """Options ``name=value`` in two columns; one without a value has NULL there."""
    array = coerce(_one("pg_options_to_table", args), array_of(TEXT), binder.context)
    names = f"list_transform({array.sql}, lambda pg_item: split_part(pg_item, '=', 1))"
    after = "CASE WHEN contains(pg_item, '=') THEN substring(pg_item, strpos(pg_item, '=') + 1) END"
    values = f"list_transform({array.sql}, lambda pg_item: {after})"
    return [_listed(names, array, "option_name"), _listed(values, array, "option_value")]


@returns_set("aclexplode")
def acl_items(binder: Binder, args: list[Expr]) -> list[Expr]:
    """An array of aclitems in rows, one for each privilege."""
    acl = coerce(_one("aclexplode", args), array_of(ACLITEM), binder.context)
    text = f"catalog_text('explode acl', {MARKER}, NULL, NULL, array_to_string({acl.sql}, chr(31)))"
    items = f"list_filter(string_split({text}, chr(31)), lambda pg_item: pg_item <> '')"
    names = (("grantor", OID, "BIGINT"), ("grantee", OID, "BIGINT"), ("privilege_type", TEXT, "VARCHAR"),
             ("is_grantable", BOOL, "BOOLEAN"))  # fmt: skip
    return [
        _listed(
            f"list_transform({items}, lambda pg_item: CAST(split_part(pg_item, chr(30), {i + 1}) AS {cast}))",
            acl, name, sql_type,
        )
        for i, (name, sql_type, cast) in enumerate(names)
    ]  # fmt: skip


@returns_set("pg_listening_channels")
def listening_channels(binder: Binder, args: list[Expr]) -> list[Expr]:
    """The channels that the session listens to. Channel names hold no U+001F."""
    if args:
        raise UndefinedFunction("function pg_listening_channels takes no arguments")
    text = session.call(binder, "pg_listening_channels", [], TEXT)
    items = f"list_filter(string_split({text.sql}, chr(31)), lambda pg_item: pg_item <> '')"
    return [_listed(items, text, "pg_listening_channels")]


@returns_set("pg_partition_ancestors", "pg_partition_tree")
def partition_ancestors(binder: Binder, args: list[Expr]) -> list[Expr]:
    """There are no partitions, so no relation has ancestors."""
    table = coerce(_one("pg_partition_ancestors", args), REGCLASS, binder.context)
    none = f"CASE WHEN {table.sql} < 0 THEN [CAST({table.sql} AS BIGINT)] END"
    return [_listed(none, table, "relid", REGCLASS)]
