"""Small pieces of sqlglot's trees that the statements that write are made of."""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from tsdb.errors import UndefinedTable
from tsdb.model.relations import name_of as relation_name
from tsdb.model.relations import schema_of
from tsdb.model.schema import Column
from tsdb.sql import dialect, lexer
from tsdb.sql.statement import Fragment, Select
from tsdb.sql.storage_form import numeric_precision
from tsdb.types import BPCHAR, NAME, NUMERIC, OID, UINT8, SqlType

# The forms that a query can give a value of a type that only columns have.
_CAST_NAMES = {NAME.oid: "text", OID.oid: "int8", BPCHAR.oid: "text"}


def name_of(identifier: exp.Expr) -> str:
    """A name as PostgreSQL folds it: lower case unless quoted."""
    this = identifier.this
    if isinstance(this, exp.Expr):
        return name_of(this)
    return str(this) if identifier.args.get("quoted") else lexer.folded(str(this))


def start_of(node: exp.Expr) -> int | None:
    """Where a name starts in its fragment, from 0."""
    start = node.meta.get("start") if node._meta else None
    return None if start is None else int(start)


def table_name(table: exp.Expr, database: str) -> str:
    """The name of a target table in ``database``. Raises UndefinedTable for another schema."""
    schema = table.args.get("db")
    catalog = table.args.get("catalog")
    if (schema is not None and name_of(schema) != "public") or (catalog is not None and name_of(catalog) != database):
        raise UndefinedTable(f'relation "{table.sql()}" does not exist', hint='The only schema is "public".')
    return name_of(table)


def alias_of(table: exp.Expr) -> str | None:
    alias = table.args.get("alias")
    return name_of(alias) if isinstance(alias, exp.Expr) else None


@lru_cache(maxsize=256)
def _type(text: str) -> exp.Expr:
    tree = dialect.parse(f"SELECT CAST(NULL AS {text})")
    to = tree.expressions[0].args["to"]
    assert isinstance(to, exp.Expr)
    return to


def type_text(sql_type: SqlType, typmod: int) -> str:
    """A type's name for CAST. Lengths of text are left to ``storage_form``: a cast would cut silently."""
    if sql_type.element is not None:
        return type_text(sql_type.element, typmod) + "[]"
    if sql_type == UINT8:
        return "numeric(20,0)"
    if sql_type == NUMERIC and typmod >= 0:
        precision, scale = numeric_precision(typmod)
        return f"numeric({precision},{scale})"
    if sql_type == BPCHAR and typmod >= 0:
        return f"bpchar({typmod - 4})"
    if sql_type.labels is not None:
        parts = (schema_of(sql_type.typname), relation_name(sql_type.typname))
        return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
    return _CAST_NAMES.get(sql_type.oid, sql_type.typname)


# Where a cast says which column its value is assigned to.
ASSIGNED_TO = "assigned_to"


def cast(value: exp.Expr, column: Column) -> exp.Expr:
    """``value`` as the column's type, where it may be assigned to it without a cast."""
    made = exp.Cast(this=value, to=_type(type_text(column.type, column.typmod)).copy())
    made.set(ASSIGNED_TO, column.name)
    return made


def cast_to(value: exp.Expr, text: str) -> exp.Expr:
    return exp.Cast(this=value, to=_type(text).copy())


def column(name: str, table: str | None = None) -> exp.Expr:
    qualifier = exp.to_identifier(table, quoted=True) if table is not None else None
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=qualifier)


def aliased(value: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True))


def expression(text: str) -> exp.Expr:
    """The tree of an expression's text: a column's default."""
    tree = dialect.parse(f"SELECT {text}")
    item: exp.Expr = tree.expressions[0]
    return item.copy()


def derived(fragment: Fragment, role: str, tree: exp.Expr) -> Select:
    """A query that is made from a statement. ``role`` and the statement's text name it: prepared queries are cached by
    text. Positions in the tree still count from the fragment."""
    made = Fragment(f"/*{role.replace('*/', '')}*/{fragment.text}", fragment.offset)
    made.__dict__["original"] = fragment.original
    return Select(made, tree)


def conjuncts(condition: exp.Expr | None) -> list[exp.Expr]:
    if condition is None:
        return []
    if isinstance(condition, exp.Paren):
        return conjuncts(condition.this)
    if isinstance(condition, exp.And):
        return conjuncts(condition.this) + conjuncts(condition.expression)
    return [condition]


def subquery(source: exp.Expr, alias: str, columns: list[str]) -> exp.Expr:
    """``(source) AS alias(columns …)``."""
    names = [exp.to_identifier(name, quoted=True) for name in columns]
    table_alias = exp.TableAlias(this=exp.to_identifier(alias, quoted=True), columns=names)
    if isinstance(source, exp.Values):
        values = source.copy()
        values.set("alias", table_alias)
        return values
    return exp.Subquery(this=source.copy(), alias=table_alias)


def select(items: list[exp.Expr], source: exp.Expr | None = None, where: exp.Expr | None = None) -> exp.Expr:
    query = exp.Select(expressions=items)
    if source is not None:
        query.set("from_", exp.From(this=source))
    if where is not None:
        query.set("where", exp.Where(this=where.copy()))
    return query
