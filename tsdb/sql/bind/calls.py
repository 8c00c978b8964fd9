"""Function calls: the tables of ``functions``, aggregates with FILTER and WITHIN GROUP, and windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlglot import exp

from tsdb.errors import (
    FeatureNotSupported,
    GroupingError,
    NumericValueOutOfRange,
    SqlSyntaxError,
    TsdbError,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    WindowingError,
    WrongObjectType,
)
from tsdb.sql import limits
from tsdb.sql.bind import summaries
from tsdb.sql.bind.binder import Binder, binds, fold
from tsdb.sql.catalog import definitions, signatures
from tsdb.sql.expressions import coercion, numerics, shown, signature
from tsdb.sql.expressions.coercion import as_bool, coerce, numeric_digits_of
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.functions import aggregates, datetimes, scalar, text_types, timeseries
from tsdb.sql.expressions.grouping import AggregateCall
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import fields_of, row_of
from tsdb.sql.expressions.signature import Signature
from tsdb.types import BY_NAME, INT8, NUMERIC, TEXT, SqlType, array_of

Special = Callable[[Binder, list[exp.Expr], Scope], Expr]
SPECIAL: dict[str, Special] = {}
# Set-returning functions by name (``bind.sets``): each gives its columns.
SETS: dict[str, Callable[[Binder, list[Expr]], list[Expr]]] = {}
# json_agg and its like, which write each value by its type: ``bind.json``'s.
JSON_AGGREGATES: dict[str, Callable[..., str]] = {}
SCALARS = signature.merge(scalar.TABLE, datetimes.TABLE, text_types.TABLE, signatures.TABLE)
MAX_ARGUMENTS = 100
_NO_FUNCTION_HINT = "No function matches the given name and argument types. You might need to add explicit type casts."


def special(*names: str) -> Callable[[Special], Special]:
    """Register a function whose text a line of the tables cannot say."""

    def register(function: Special) -> Special:
        for name in names:
            SPECIAL[name] = function
        return function

    return register


@dataclass(frozen=True, slots=True)
class Over:
    """What surrounds an aggregate: its FILTER, its OVER, WITHIN GROUP's ORDER BY."""

    filter: exp.Expr | None = None
    window: exp.Window | None = None
    within: Sequence[exp.Expr] | None = None


@binds(exp.Anonymous)
def call(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    assert isinstance(node, exp.Anonymous)
    limits.check_terms(len(node.expressions))
    return call_function(binder, node, scope, Over())


@binds(exp.Dot)
def qualified_call(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    schema, inner = node.this, node.expression
    if isinstance(schema, exp.Paren | exp.Bracket):
        return _member(binder, node, scope)
    if isinstance(inner, exp.Anonymous) and isinstance(schema, exp.Identifier):
        own = "information_schema" if function_name(inner).startswith("_pg_") else "public"
        if fold(schema) not in ("pg_catalog", own):
            raise UndefinedFunction(f"function {fold(schema)}.{function_name(inner)}() does not exist")
        return call_function(binder, inner, scope, Over())
    raise FeatureNotSupported("composite values are not supported")


def _member(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    """(row).field"""
    row, name = binder.bind(node.this, scope), fold(node.expression)
    fields = fields_of(row)
    if fields is None:
        raise WrongObjectType(f"column notation .{name} applied to type {row.type.name}, which is not a composite type")
    for field in fields:
        if field.name == name:
            return field
    raise UndefinedColumn(f'could not identify column "{name}" in record data type')


@binds(exp.Filter, exp.WithinGroup, exp.Window, exp.IgnoreNulls, exp.RespectNulls)
def surrounded(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    over = Over()
    at = node
    while True:
        if isinstance(at, exp.Window):
            over = replace(over, window=at)
        elif isinstance(at, exp.Filter):
            over = replace(over, filter=at.expression.this)
        elif isinstance(at, exp.WithinGroup):
            over = replace(over, within=at.expression.expressions)
        elif isinstance(at, exp.IgnoreNulls):
            raise FeatureNotSupported("IGNORE NULLS is not supported")
        elif not isinstance(at, exp.RespectNulls):
            break
        at = at.this
    if isinstance(at, exp.Dot):
        at = at.expression
    if not isinstance(at, exp.Anonymous):
        raise SqlSyntaxError("FILTER and OVER belong to a function call")
    return call_function(binder, at, scope, over)


def function_name(node: exp.Anonymous) -> str:
    name = node.this
    return fold(name) if isinstance(name, exp.Identifier) else str(name).lower()


def call_function(binder: Binder, node: exp.Anonymous, scope: Scope, over: Over) -> Expr:
    name, position = function_name(node), binder.position(node)
    arguments = list(node.expressions)
    if len(arguments) > MAX_ARGUMENTS and name not in ("coalesce", "concat", "greatest", "least"):
        raise SqlSyntaxError(f"cannot pass more than {MAX_ARGUMENTS} arguments to a function", position=position)
    if over == Over() and (direct := summaries.in_one_step(name, arguments)) is not None:
        return replace(binder.bind(direct, scope), name=name, position=position)
    if name in timeseries.SUMMARIES:
        raise summaries.refuse(name)
    if name in aggregates.AGGREGATES or name in aggregates.ORDERED_SETS or name in aggregates.WINDOWS:
        return replace(_aggregate(binder, name, arguments, scope, over), name=name, position=position)
    if over.window is not None or over.filter is not None or over.within is not None:
        if name in SPECIAL or name in SCALARS:
            what = "OVER" if over.window is not None else "FILTER" if over.filter is not None else "WITHIN GROUP"
            raise WrongObjectType(f"{what} specified, but {name} is not an aggregate function", position=position)
        raise UndefinedFunction(f"function {name}() does not exist", position=position)
    if name in SETS:
        return replace(set_call(binder, name, [binder.bind(a, scope) for a in arguments]), position=position)
    if name in SPECIAL:
        try:
            made = SPECIAL[name](binder, arguments, scope)
        except (IndexError, ValueError):
            # A special form takes its arguments by their places: it was given too few, or too many.
            given = _types_of(binder, arguments, scope)
            raise UndefinedFunction(
                f"function {name}({given}) does not exist", hint=_NO_FUNCTION_HINT, position=position
            ) from None
        return replace(made, name=name, position=position)
    if name not in SCALARS and name not in scalar.VOLATILE:
        raise _not_there(binder, name, arguments, scope, position)
    return replace(plain_call(binder, name, [binder.bind(a, scope) for a in arguments]), position=position)


def _not_there(
    binder: Binder, name: str, arguments: Sequence[exp.Expr], scope: Scope, position: int | None
) -> TsdbError:
    types = [binder.bind(a, scope).type for a in arguments if not isinstance(a, exp.Star)]
    given = ", ".join(t.name for t in types)
    if definitions.is_function(name, [t.oid for t in types]):
        return FeatureNotSupported(f"function {name}({given}) is not supported", position=position)
    return UndefinedFunction(f"function {name}({given}) does not exist", hint=_NO_FUNCTION_HINT, position=position)


def set_call(binder: Binder, name: str, args: list[Expr]) -> Expr:
    """A set-returning function in a select list: its column, or a row of its columns."""
    if binder.refused:
        raise FeatureNotSupported(f"set-returning functions are not allowed in {binder.refused}")
    columns = SETS[name](binder, args)
    return replace(columns[0] if len(columns) == 1 else row_of(columns, [c.name for c in columns]), name=name)


def _types_of(binder: Binder, arguments: Sequence[exp.Expr], scope: Scope) -> str:
    return ", ".join("*" if isinstance(a, exp.Star) else binder.bind(a, scope).type.name for a in arguments)


def plain_call(binder: Binder, name: str, args: Sequence[Expr]) -> Expr:
    """A call of a function of the tables with bound arguments."""
    volatile = name in scalar.VOLATILE
    chosen = signature.choose(name, (scalar.VOLATILE if volatile else SCALARS).get(name, ()), args)
    if chosen is None:
        given = ", ".join(a.type.name for a in args)
        raise UndefinedFunction(f"function {name}({given}) does not exist", hint=_NO_FUNCTION_HINT)
    bound = _coerced(binder, chosen, args)
    texts = [b.sql for b in bound]
    template = chosen.template.replace("{*}", ", ".join(texts[len(chosen.arguments) - 1 :]))
    sql = template.format(*texts)
    result = signature.result_type(chosen, bound)
    digits = _result_digits(chosen, result, bound)
    made = combine(sql, result, "call", tuple(bound), digits=digits, name=name, stable=not volatile)
    return shown.of_function(name, made, bound) if result.typname == "numeric" else made


def _result_digits(chosen: Signature, result: SqlType, bound: Sequence[Expr]) -> tuple[int, int] | None:
    scale = chosen.result.partition(":")[2]
    if result.typname == "numeric" and scale.isdigit():
        return 38, int(scale)
    digits = next((b.digits for b in bound if b.digits is not None), None)
    is_numeric = result.typname == "numeric" or (result.element is not None and result.element.typname == "numeric")
    return digits if is_numeric else None


def _coerced(binder: Binder, chosen: Signature, args: Sequence[Expr]) -> list[Expr]:
    """The arguments in the signature's types; the polymorphic ones in one common type."""
    any_elements = [a for i, a in enumerate(args) if chosen.argument(i) == "anyelement"]
    array_types = [a.type for i, a in enumerate(args) if chosen.argument(i) == "anyarray" and not a.unknown]
    element = array_types[0].element if array_types else None
    if element is None and any_elements:
        element = coercion.common_type(any_elements, "function arguments")
    bound = []
    for index, arg in enumerate(args):
        wanted = chosen.argument(index)
        if wanted in ("any", "anyenum"):
            bound.append(coerce(arg, TEXT, binder.context) if arg.unknown else arg)
        elif wanted == "anyelement":
            assert element is not None
            bound.append(coerce(arg, element, binder.context))
        elif wanted == "anyarray":
            bound.append(coerce(arg, array_of(element or TEXT), binder.context) if arg.unknown else arg)
        else:
            bound.append(coerce(arg, BY_NAME[wanted], binder.context))
    return bound


def _aggregate(binder: Binder, name: str, arguments: list[exp.Expr], scope: Scope, over: Over) -> Expr:
    windowed = over.window is not None
    if name in aggregates.WINDOWS and not windowed:
        raise WrongObjectType(f"window function {name} requires an OVER clause")
    what = "window" if windowed else "aggregate"
    if binder.refused and not (windowed and binder.refused == "an aggregate"):
        if binder.refused == "an aggregate":
            raise GroupingError("aggregate function calls cannot be nested")
        error = WindowingError if windowed else GroupingError
        raise error(f"{what} functions are not allowed in {binder.refused}")
    before, binder.refused = binder.refused, "" if windowed else "an aggregate"
    try:
        distinct, order, nodes = _modifiers(arguments)
        if name in aggregates.ORDERED_SETS:
            return _ordered_set(binder, name, nodes, scope, over)
        return _plain_aggregate(binder, name, nodes, scope, over, distinct, order)
    finally:
        binder.refused = before


def _modifiers(arguments: list[exp.Expr]) -> tuple[bool, Sequence[exp.Expr], list[exp.Expr]]:
    """(DISTINCT, ORDER BY, the arguments themselves): sqlglot hangs both on the last argument."""
    nodes = list(arguments)
    order: Sequence[exp.Expr] = ()
    distinct = False
    if nodes and isinstance(nodes[-1], exp.Order):
        order = nodes[-1].expressions
        nodes[-1] = nodes[-1].this
    if nodes and isinstance(nodes[0], exp.Distinct):
        distinct = True
        nodes = [*nodes[0].expressions, *nodes[1:]]
    return distinct, order, nodes


def _plain_aggregate(
    binder: Binder,
    name: str,
    nodes: list[exp.Expr],
    scope: Scope,
    over: Over,
    distinct: bool,
    order: Sequence[exp.Expr],
) -> Expr:
    star = len(nodes) == 1 and isinstance(nodes[0], exp.Star)
    if star and name != "count":
        raise UndefinedFunction(f"function {name}() does not exist", hint=_NO_FUNCTION_HINT)
    if star or (name == "count" and not nodes):
        bound, sql_arguments, chosen = [], "*", aggregates.AGGREGATES["count"][0]
        if not star:
            raise WrongObjectType("count(*) must be used to call a parameterless aggregate function")
    else:
        args = [binder.bind(n, scope) for n in nodes]
        table = aggregates.AGGREGATES if name in aggregates.AGGREGATES else aggregates.WINDOWS
        found = signature.choose(name, table[name], args)
        if found is None:
            given = ", ".join(a.type.name for a in args)
            raise UndefinedFunction(f"function {name}({given}) does not exist", hint=_NO_FUNCTION_HINT)
        chosen = found
        bound = _coerced(binder, chosen, args)
        sql_arguments = ", ".join(b.sql for b in bound)
    if name in timeseries.TABLE:
        _check_timeseries(name, bound, distinct=distinct)
    if name == "array_agg" and bound[0].type.element is not None:
        raise FeatureNotSupported("arrays of arrays are not supported")
    order_text = " ORDER BY " + ", ".join(order_item(binder, item, scope).sql for item in order) if order else ""
    if not order and distinct and name in ("array_agg", "string_agg"):
        # PostgreSQL finds distinct values by sorting them, and that order is seen.
        order_text = f" ORDER BY {bound[0].sql} ASC NULLS LAST"
    sql_arguments = ("DISTINCT " if distinct else "") + sql_arguments + order_text
    suffix, inside = _suffix(binder, scope, over)
    result = signature.result_type(chosen, bound)
    if name in JSON_AGGREGATES and bound:
        sql = JSON_AGGREGATES[name](binder, name, bound, order_text, "DISTINCT " if distinct else "", suffix)
        return _made(sql, result, bound, inside, over, None)
    if name == "avg" and chosen.arguments == ("numeric",):
        digits = numeric_digits_of(bound[0])
        total, count = f"sum({sql_arguments}){suffix}", f"count({sql_arguments}){suffix}"
        sql, made_digits = numerics.over(total, f"nullif({count}, 0)", (38, digits[1]), (19, 0))
        shown_total = _shown_sum(total, bound[0], suffix)
        made = _made(sql, NUMERIC, bound, inside, over, made_digits)
        return replace(made, shown=_shown_quotient(shown_total, count))
    if distinct and "interval" in chosen.arguments and name in ("sum", "avg"):
        raise FeatureNotSupported(f"{name}(DISTINCT interval) is not supported", hint="DISTINCT in a subquery.")
    once = "DISTINCT " if distinct else ""
    sql = chosen.template.format(*(b.sql for b in bound), a=sql_arguments, f=suffix, d=once)
    if result.typname == "numeric" and name == "sum" and bound[0].digits is not None:
        made = _made(sql, result, bound, inside, over, (38, bound[0].digits[1]))
        return replace(made, shown=_shown_sum(sql, bound[0], suffix)) if bound[0].shown is not None else made
    made = _made(sql, result, bound, inside, over, _result_digits(chosen, result, bound))
    if not suffix and not order and not distinct:
        made = replace(made, value=AggregateCall(name))
    if name == "avg" and result.typname == "numeric":
        total = f"CAST(CAST(sum({sql_arguments}){suffix} AS HUGEINT) AS VARCHAR)"
        return replace(made, shown=_shown_quotient(total, f"count({sql_arguments}){suffix}"))
    if name in ("min", "max") and bound[0].shown is not None:
        return replace(made, shown=f"arg_{name}({bound[0].shown}, {bound[0].sql}){suffix}")
    return made


def _check_timeseries(name: str, bound: Sequence[Expr], *, distinct: bool) -> None:
    if distinct:
        raise FeatureNotSupported(f"DISTINCT is not supported in {name}")
    for place in timeseries.CONSTANT.get(name, ()):
        if place < len(bound) and any(e.op in ("column", "subquery") for e in bound[place].walk()):
            raise FeatureNotSupported(f"argument {place + 1} of {name} must be a constant")
    if name in ("approx_percentile", "approx_quantile"):
        _check_fractions(name, bound[1])


def _shown_sum(total: str, value: Expr, suffix: str) -> str:
    """What a sum of numerics shows: the most digits after the point that any of them has."""
    if value.shown is None:
        return f"CAST({total} AS VARCHAR)"
    # Of digits that were not summed none is shown.
    summed = numeric_digits_of(value)[1]
    scale = f"least(max(py_numeric_scale({value.shown})){suffix}, {summed})"
    return f"py_numeric_scaled(CAST({total} AS VARCHAR), {scale})"


def _shown_quotient(total: str, count: str) -> str:
    return f"py_numeric_operation('/', {total}, CAST(nullif({count}, 0) AS VARCHAR))"


def _made(
    sql: str, result: SqlType, bound: Sequence[Expr], inside: Sequence[Expr], over: Over,
    digits: tuple[int, int] | None,
) -> Expr:  # fmt: skip
    op = "window" if over.window is not None else "aggregate"
    made = combine(sql, result, op, (*bound, *inside), digits=digits)
    if over.window is not None:
        return replace(made, window=True)
    return replace(made, aggregate=True)


def _ordered_set(binder: Binder, name: str, nodes: list[exp.Expr], scope: Scope, over: Over) -> Expr:
    if over.within is None:
        raise WrongObjectType(f"WITHIN GROUP is required for ordered-set aggregate {name}")
    if len(over.within) != 1:
        raise UndefinedFunction(f"function {name} takes one ORDER BY expression", hint=_NO_FUNCTION_HINT)
    ordered = over.within[0]
    args = [binder.bind(n, scope) for n in nodes]
    value = binder.bind(ordered.this, scope)
    descending = bool(ordered.args.get("desc"))
    if name in ("percentile_cont", "percentile_disc") and args:
        _check_fractions(name, args[0])
    chosen = signature.choose(name, aggregates.ORDERED_SETS[name], [*args, value])
    if chosen is None:
        given = ", ".join(a.type.name for a in (*args, value))
        raise UndefinedFunction(f"function {name}({given}) does not exist", hint=_NO_FUNCTION_HINT)
    bound = _coerced(binder, chosen, [*args, value])
    texts = [b.sql for b in bound]
    if descending and len(texts) == 2:
        array = bound[0].type.element is not None
        texts[0] = f"list_transform({texts[0]}, lambda pg_item: 1 - pg_item)" if array else f"(1 - {texts[0]})"
    suffix, inside = _suffix(binder, scope, over)
    result = signature.result_type(chosen, bound)
    sql = chosen.template.format(*texts, f=suffix, order="DESC" if descending else "ASC")
    return _made(sql, result, bound, inside, over, _result_digits(chosen, result, bound[-1:]))


def _check_fractions(name: str, fractions: Expr) -> None:
    """Fractions are constants between 0 and 1."""
    if fractions.op == "cast":
        fractions = fractions.args[0]
    items = fractions.args if fractions.op == "array" else (fractions,)
    for each in items:
        item = each.args[0] if each.op == "cast" else each
        if item.op != "literal":
            raise FeatureNotSupported(f"{name} takes constant fractions")
        if isinstance(item.value, int | float | Decimal) and not 0 <= item.value <= 1:
            raise NumericValueOutOfRange(f"percentile value {item.value} is not between 0 and 1")


def _suffix(binder: Binder, scope: Scope, over: Over) -> tuple[str, list[Expr]]:
    """The text of FILTER and OVER, and the expressions in it."""
    text, inside = "", []
    if over.filter is not None:
        condition = as_bool(binder.bind(over.filter, scope), "FILTER", binder.context)
        text += f" FILTER (WHERE {condition.sql})"
        inside.append(condition)
    if over.window is not None:
        specification, exprs = window_text(binder, over.window, scope)
        text += f" OVER ({specification})"
        inside += exprs
    return text, inside


def window_text(binder: Binder, node: exp.Window, scope: Scope) -> tuple[str, list[Expr]]:
    """PARTITION BY … ORDER BY … frame, with a named window's parts put in."""
    parts: list[str] = []
    exprs: list[Expr] = []
    partition = _of_window(binder, node, "partition_by")
    if partition:
        bound = [binder.bind(p, scope) for p in partition]
        exprs += bound
        parts.append("PARTITION BY " + ", ".join(b.sql for b in bound))
    order = _of_window(binder, node, "order")
    if order:
        items = [order_item(binder, item, scope) for item in order.expressions]
        exprs += [item.args[0] for item in items]
        parts.append("ORDER BY " + ", ".join(item.sql for item in items))
    spec = _of_window(binder, node, "spec")
    if spec is not None:
        parts.append(_frame(binder, spec, scope))
    return " ".join(parts), exprs


def _of_window(binder: Binder, node: exp.Window, key: str) -> Any:
    """A part of a window, its own or that of the window it names."""
    at: exp.Window | None = node
    for _ in range(len(binder.windows) + 1):
        if at is None or at.args.get(key):
            break
        named = at.args.get("alias")
        if named is None:
            return None
        at = binder.windows.get(fold(named))
        if at is None:
            raise UndefinedObject(f'window "{fold(named)}" does not exist', position=binder.position(named))
    return at.args.get(key) if at is not None else None


def _frame(binder: Binder, spec: exp.Expr, scope: Scope) -> str:
    kind = str(spec.args["kind"]).upper()

    def bound(which: str) -> str:
        value, side = spec.args.get(which), str(spec.args.get(f"{which}_side") or "").upper()
        if value is None or value == "CURRENT ROW":
            return "CURRENT ROW"
        if value == "UNBOUNDED":
            return f"UNBOUNDED {side}"
        offset = binder.bind(value, scope)
        if kind != "RANGE":
            offset = coerce(offset, INT8, binder.context)
        elif offset.unknown:
            offset = coerce(offset, BY_NAME["interval"], binder.context)
        return f"{offset.sql} {side}"

    end = spec.args.get("end")
    _check_frame(spec)
    text = f"{kind} BETWEEN {bound('start')} AND {bound('end') if end is not None else 'CURRENT ROW'}"
    exclude = spec.args.get("exclude")
    return f"{text} EXCLUDE {exclude.name.upper()}" if exclude is not None else text


def _check_frame(spec: exp.Expr) -> None:
    """A frame does not begin after it ends (9.22 and 4.2.8)."""

    def side(which: str) -> tuple[str, str]:
        value = spec.args.get(which)
        return str(value) if isinstance(value, str) else "", str(spec.args.get(f"{which}_side") or "").upper()

    (start, start_side), (end, end_side) = side("start"), side("end")
    if start == "UNBOUNDED" and start_side == "FOLLOWING":
        raise WindowingError("frame start cannot be UNBOUNDED FOLLOWING")
    if end == "UNBOUNDED" and end_side == "PRECEDING":
        raise WindowingError("frame end cannot be UNBOUNDED PRECEDING")
    if start == "CURRENT ROW" and end_side == "PRECEDING":
        raise WindowingError("frame starting from current row cannot have preceding rows")
    if start_side == "FOLLOWING" and end_side == "PRECEDING":
        raise WindowingError("frame starting from following row cannot have preceding rows")


def order_item(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    """An ORDER BY item of an expression: NULLs are larger than all values."""
    inner = binder.bind(node.this, scope)
    if inner.unknown:
        inner = coerce(inner, TEXT, binder.context)
    inner = coercion.ordered(inner)
    return replace(inner, sql=inner.sql + ordering(node), args=(inner,), op="order")


def ordering(node: exp.Expr) -> str:
    """ASC or DESC and where NULLs go, in so many words."""
    descending = bool(node.args.get("desc"))
    nulls_first = bool(node.args.get("nulls_first"))
    return f" {'DESC' if descending else 'ASC'} NULLS {'FIRST' if nulls_first else 'LAST'}"
