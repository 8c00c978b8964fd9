"""create_hypertable and its kin, as scripts for TimescaleDB send them: every series is partitioned by time already.

What needs no doing is accepted with a NOTICE, sent when the call runs; what has another name here says which.

Source: TimescaleDB's reference, hypertables and chunks.
"""

from __future__ import annotations

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, UndefinedColumn, UndefinedFunction, UndefinedTable
from tsdb.model.schema import Role, Series
from tsdb.sql import lexer, names
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import function_name, special
from tsdb.sql.expressions.coercion import constant
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import row_of
from tsdb.sql.literal import quote
from tsdb.sql.session_calls import FUNCTION
from tsdb.types import BOOL, INT4, NAME, VOID

_PARTITIONED = "is partitioned by time already"
# What has nothing to do here, and why.
_NEEDLESS = {
    "add_dimension": "tags and time decide what is read",
    "set_chunk_time_interval": "the width of partitions is not chosen",
    "set_number_partitions": "the number of partitions is not chosen",
    "add_compression_policy": "all points on disk are compressed",
    "remove_compression_policy": "all points on disk are compressed",
    "add_columnstore_policy": "all points on disk are in columns",
    "add_reorder_policy": "points on disk are ordered by tags and time",
    "enable_chunk_skipping": "ranges of values are kept for all fields",
}
# What is said otherwise here.
_OTHERWISE = {
    "add_retention_policy": "ALTER TABLE … SET (retention = '30 days')",
    "remove_retention_policy": "ALTER TABLE … RESET (retention)",
    "drop_chunks": "DELETE FROM … WHERE time < …",
    "show_chunks": "SELECT count(*), min(time), max(time) FROM …",
    "compress_chunk": "Nothing: all points on disk are compressed.",
    "add_continuous_aggregate_policy": "Nothing: continuous views are kept up to date.",
    "by_range": "SELECT create_hypertable('table', by_range('time'))",
    "by_hash": "Nothing: tags decide what is read.",
}


@special("create_hypertable")
def create_hypertable(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """create_hypertable(relation, time column or by_range(time column), …): one row about the series."""
    plain = [a for a in arguments if not isinstance(a, exp.Kwarg | exp.PropertyEQ)]
    named = {fold(a.this): a.expression for a in arguments if isinstance(a, exp.Kwarg | exp.PropertyEQ)}
    relation = plain[0] if plain else named.get("relation") or named.get("main_table")
    column = plain[1] if len(plain) > 1 else named.get("dimension") or named.get("time_column_name")
    if relation is None or column is None:
        raise UndefinedFunction(
            "function create_hypertable needs a table and its time column", hint="create_hypertable('cpu', 'time')"
        )
    ranged = False
    if isinstance(column, exp.Anonymous) and function_name(column) in ("by_range", "by_hash"):
        ranged = True
        inner = [a.expression if isinstance(a, exp.Kwarg | exp.PropertyEQ) else a for a in column.expressions]
        if not inner:
            raise UndefinedFunction(f"function {function_name(column)}() does not exist", hint="by_range('time')")
        column = inner[0]
    series = _series(binder, relation, scope)
    _check_column(series, _text(binder, column, scope, "the time column"))
    created = _noticed(binder, f'"{series.name}" {_PARTITIONED}', "created")
    number = constant(INT4, series.number).named("hypertable_id")
    if ranged:
        return row_of([number, created], ["hypertable_id", "created"])
    values = [number, constant(NAME, series.schema), constant(NAME, series.name), created]
    return row_of(values, ["hypertable_id", "schema_name", "table_name", "created"])


def _series(binder: Binder, node: exp.Expr, scope: Scope) -> Series:
    """The series that a constant names, as FROM would find it."""
    text = _text(binder, node, scope, "the table")
    parts = [t.value for t in lexer.tokens(text) if t.kind in ("word", "quoted")]
    schema = parts[0] if len(parts) == 2 else ""
    found = names.find(binder.context, binder.database, schema, parts[-1]) if 1 <= len(parts) <= 2 else None
    if found is None:
        raise UndefinedTable(f'relation "{text}" does not exist', position=binder.position(node))
    if not isinstance(found, Series):
        raise InvalidParameterValue(f'"{text}" is not a table')
    return found


def _text(binder: Binder, node: exp.Expr, scope: Scope, what: str) -> str:
    expr = binder.bind(node, scope)
    expr = expr.args[0] if expr.op == "cast" and expr.args else expr
    if not isinstance(expr.value, str):
        raise FeatureNotSupported(f"{what} of create_hypertable must be a constant", position=binder.position(node))
    return expr.value


def _check_column(series: Series, name: str) -> None:
    column = next((c for c in series.columns if c.name == name), None)
    if column is None:
        raise UndefinedColumn(f'column "{name}" does not exist')
    if column.role is not Role.TIME:
        times = [c.name for c in series.columns if c.role is Role.TIME and not series.reference]
        raise InvalidParameterValue(
            f'"{series.name}" cannot be partitioned by "{name}"',
            hint=f'Its time is "{times[0]}".' if times else "It has no time: give it a timestamptz column.",
        )


def _noticed(binder: Binder, text: str, name: str) -> Expr:
    """true, and a NOTICE when it is computed."""
    call = f"{FUNCTION}({binder.context.backend_pid}, 'notice', CAST([{quote(text)}] AS VARCHAR[]))"
    return combine(f"({call} IS NOT NULL)", BOOL, "call", (), name=name, stable=False)


def _needless(name: str, why: str) -> None:
    @special(name)
    def accept(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
        made = _noticed(binder, f"{name} has nothing to do: {why}", name)
        return Expr(f"CASE WHEN {made.sql} THEN '' END", VOID, "call", stable=False)


def _otherwise(name: str, hint: str) -> None:
    @special(name)
    def refuse(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
        raise FeatureNotSupported(f"function {name} is not supported", hint=hint)


for _name, _reason in _NEEDLESS.items():
    _needless(_name, _reason)
for _name, _hint in _OTHERWISE.items():
    _otherwise(_name, _hint)
