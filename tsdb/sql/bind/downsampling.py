"""lttb in FROM: a query's rows, thinned to those that show the shape of a curve, with all their columns.

    FROM lttb(table or (query), time, value, n [, group, …])
    FROM unnest((SELECT lttb(time, value, n) FROM …))         -- TimescaleDB's toolkit: the columns time and value

In DuckDB each group's rows become a list, from which ``computed.downsampling`` chooses.
"""

from __future__ import annotations

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, UndefinedColumn, UndefinedFunction
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import function_name, special
from tsdb.sql.bind.view import output_columns
from tsdb.sql.expressions.block import BoundQuery, Output
from tsdb.sql.expressions.coercion import coerce, implicit
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Relation, Scope
from tsdb.sql.plan import is_constant
from tsdb.types import FLOAT8, INT8, TIMESTAMPTZ

_CALL = "lttb(table or (query), time, value, number of points [, group, …])"
_TIMES = ("timestamptz", "timestamp", "date")


def call_of(node: exp.Expr) -> exp.Anonymous | None:
    """The call of lttb that a function in FROM is, or that the toolkit's unnest of one means."""
    if isinstance(node, exp.Anonymous) and function_name(node) == "lttb":
        return node
    inner = node.expressions[0] if isinstance(node, exp.Unnest) and len(node.expressions) == 1 else None
    query = inner.this if isinstance(inner, exp.Subquery) else None
    if not isinstance(query, exp.Select) or len(query.expressions) != 1:
        return None
    call = query.expressions[0]
    call = call.this if isinstance(call, exp.Alias) else call
    if not isinstance(call, exp.Anonymous) or function_name(call) != "lttb" or len(call.expressions) != 3:
        return None
    if query.args.get("group") is not None:
        raise FeatureNotSupported("lttb of groups has other arguments", hint=f"FROM {_CALL}")
    time, value, number = call.expressions
    points = query.copy()
    points.set("expressions", [exp.alias_(time.copy(), "time"), exp.alias_(value.copy(), "value")])
    columns = [exp.column("time"), exp.column("value")]
    return exp.Anonymous(this="lttb", expressions=[exp.Subquery(this=points), *columns, number])


def relation_of(binder: Binder, node: exp.Anonymous, scope: Scope) -> tuple[str, Relation]:
    """The text of the call and its relation, whose columns are the query's."""
    if len(node.expressions) < 4:
        raise UndefinedFunction(
            f"function lttb with {len(node.expressions)} arguments does not exist", hint=f"Call it in FROM: {_CALL}."
        )
    source, time_name, value_name, number, *groups = node.expressions
    query: BoundQuery = binder.bind_query(binder, _query(source), Scope(scope.parent, tables=scope.tables))
    time, value = _column(query.outputs, time_name), _column(query.outputs, value_name)
    if query.outputs[time].type.typname not in _TIMES:
        raise UndefinedFunction(
            f"lttb's time is of type {query.outputs[time].type.name}", hint="It must be timestamptz, timestamp or date."
        )
    kind = query.outputs[value]
    if not implicit(kind.type, FLOAT8):
        raise UndefinedFunction(f"lttb's value is of type {kind.type.name}", hint="It must be a number.")
    shown = coerce(Expr(f"c{value + 1}", kind.type, digits=kind.digits), FLOAT8, binder.context)
    count = coerce(binder.bind(number, Scope(None)), INT8, binder.context)
    if not is_constant(count):
        raise FeatureNotSupported("lttb's number of points must be a constant")
    keys = ", ".join(f"c{_column(query.outputs, g) + 1}" for g in groups)
    instant = f"c{time + 1}" if query.outputs[time].type == TIMESTAMPTZ else f"CAST(c{time + 1} AS TIMESTAMP)"
    names = query.column_names
    row = ", ".join([f"{name} := {name}" for name in names])
    points = f"struct_pack(t := epoch_us({instant}), v := {shown.sql})"
    listed = f"list(struct_pack(p := {points}, {row}))"
    chosen = f"py_lttb(list_transform(l, lambda pg_row: pg_row.p), {count.sql})"
    grouped = f"SELECT {listed} AS l FROM ({query.sql}) AS s{f' GROUP BY {keys}' if keys else ''}"
    rows = f"SELECT unnest(list_select(l, {chosen})) AS r FROM ({grouped}) AS s WHERE len(l) > 0"
    relation = Relation("lttb", binder.alias(), output_columns(query.outputs))
    columns = ", ".join(f"r.{name} AS {name}" for name in names)
    return f"(SELECT {columns} FROM ({rows}) AS s) AS {relation.alias}", relation


def _query(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Subquery):
        query: exp.Expr = node.this
        return query
    if isinstance(node, exp.Column):
        table = exp.Table(this=node.this.copy(), db=node.args["table"].copy() if node.args.get("table") else None)
        return exp.Select(expressions=[exp.Star()], from_=exp.From(this=table))
    raise UndefinedFunction("lttb's first argument is a table or a query in parentheses", hint=f"FROM {_CALL}")


def _column(outputs: list[Output], node: exp.Expr) -> int:
    """The place of a column of the query, which its name or a text with its name means."""
    name = fold(node.this) if isinstance(node, exp.Column) else node.name if isinstance(node, exp.Literal) else ""
    found = [i for i, o in enumerate(outputs) if o.name == name]
    if len(found) != 1:
        raise UndefinedColumn(f'column "{name or node.key}" of lttb\'s query does not exist, or is there twice')
    return found[0]


@special("lttb")
def elsewhere(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    raise FeatureNotSupported("lttb gives rows: call it in FROM", hint=f"SELECT … FROM {_CALL}")
