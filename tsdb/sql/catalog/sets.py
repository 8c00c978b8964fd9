"""Functions of the catalog that return rows of their arguments; those without arguments are in ``relations``."""

from __future__ import annotations

from tsdb.errors import UndefinedFunction
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.sets import returns_set
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.types import INT4, REGCLASS, TEXT, SqlType, array_of


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


@returns_set("pg_partition_ancestors", "pg_partition_tree")
def partition_ancestors(binder: Binder, args: list[Expr]) -> list[Expr]:
    """There are no partitions, so no relation has ancestors."""
    table = coerce(_one("pg_partition_ancestors", args), REGCLASS, binder.context)
    none = f"CASE WHEN {table.sql} < 0 THEN [CAST({table.sql} AS BIGINT)] END"
    return [_listed(none, table, "relid", REGCLASS)]
