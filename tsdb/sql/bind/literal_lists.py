"""Long lists of literals, in IN and VALUES, as Arrow tables that DuckDB reads: its parser and planner take 0.1 ms and
10 kB for each literal of a text. A list with anything but numbers, strings and NULL is none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa
from sqlglot import exp

from tsdb.errors import NumericValueOutOfRange
from tsdb.sql import literal
from tsdb.sql.bind.binder import Binder
from tsdb.sql.context import Context
from tsdb.sql.expressions.coercion import common_digits, is_text
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Source
from tsdb.types import DATE, FLOAT8, INT2, INT4, INT8, NUMERIC, TEXT, TIMESTAMP, TIMESTAMPTZ, UNKNOWN, SqlType

MIN_LONG = 500
_INTEGERS = (INT2, INT4, INT8)
_MOMENTS = (DATE, TIMESTAMP, TIMESTAMPTZ)


@dataclass(frozen=True)
class Literals:
    """Values of one type: unknown (texts), integer, bigint or numeric (Decimals, which ``digits`` hold)."""

    type: SqlType
    values: list[object]
    digits: tuple[int, int] | None = None


def literals_of(nodes: Sequence[exp.Expr]) -> Literals | None:
    """The values of nodes that are all literals of one category, else None."""
    texts: list[str | None] = []
    strings = numbers = False
    for node in nodes:
        sign, inner = ("-", node.this) if isinstance(node, exp.Neg) else ("", node)
        if isinstance(inner, exp.Literal):
            is_string = bool(inner.args["is_string"])
            strings, numbers = strings or is_string, numbers or not is_string
            if (is_string and sign) or (strings and numbers):
                return None
            texts.append(sign + str(inner.this))
        elif isinstance(inner, exp.Null) and not sign:
            texts.append(None)
        else:
            return None
    return _numbers(texts) if numbers else Literals(UNKNOWN, list(texts))


def _numbers(texts: Sequence[str | None]) -> Literals | None:
    try:
        found = [None if text is None else literal.numeric_value(text) for text in texts]
        known = [value for value in found if value is not None]
        if all(text is None or text.lstrip("-").isdigit() for text in texts):
            widest = max(abs(value) for value in known)
            if widest < 2**63:
                integer = INT4 if widest < 2**31 else INT8
                return Literals(integer, [None if value is None else int(value) for value in found])
        digits = [literal.numeric_digits(value) for value in known]
    except NumericValueOutOfRange:
        return None
    scale = max(s for _, s in digits)
    whole = max(p - s for p, s in digits)
    if whole + scale > literal.NUMERIC_DIGITS:
        return None
    return Literals(NUMERIC, list(found), (max(1, whole + scale), scale))


def column_of(found: Literals) -> tuple[SqlType, pa.Array]:
    """A column of VALUES: unknown texts are texts."""
    if found.type is UNKNOWN:
        return TEXT, pa.array(found.values, pa.string())
    if found.type == NUMERIC:
        assert found.digits is not None
        return NUMERIC, pa.array(found.values, pa.decimal128(*found.digits))
    return found.type, pa.array(found.values, found.type.arrow)


def comparable(
    found: Literals, left: Expr, target: SqlType, context: Context
) -> tuple[pa.Array, list[object], tuple[int, int] | None] | None:
    """The values as ``target``, in which ``left`` is compared with them, as a column and in ``literal``'s form, and the
    numeric's digits; None where a list in DuckDB's text knows better. Raises 22P02 and its like for a text that spells
    no ``target``."""
    values = found.values
    if found.type is UNKNOWN:
        if target in _MOMENTS and any(text is not None and "inf" in str(text).lower() for text in values):
            return None
        if not (is_text(target) or target in (*_INTEGERS, *_MOMENTS, FLOAT8)):
            return None
        values = [None if text is None else literal.read(target, str(text), context) for text in values]
    elif target == FLOAT8:
        values = [None if value is None else float(value) for value in values]  # type: ignore[arg-type]
    elif target == NUMERIC:
        digits = common_digits([left, Expr("", found.type, digits=found.digits)])
        exact = [None if value is None else Decimal(value) for value in values]  # type: ignore[arg-type]
        try:
            return pa.array(exact, pa.decimal128(*digits)), list(exact), digits
        except pa.ArrowInvalid:
            return None
    elif target not in _INTEGERS:
        return None
    return pa.array(values, pa.string() if is_text(target) else target.arrow), values, None


def source_of(binder: Binder, columns: Sequence[pa.Array]) -> Source:
    """A source of the statement with the columns c1 …"""
    names = [f"c{i + 1}" for i in range(len(columns))]
    table = pa.Table.from_arrays(list(columns), names)
    return binder.source(
        Source(
            len(binder.sources) + 1, table=lambda catalog, context, wanted: table.select(wanted), columns=list(names)
        )
    )


def list_of(like: Expr, values: list[object]) -> Expr:
    """The list as a constant that the rules prune by."""
    return replace(like, sql="", op="literal", args=(), value=values, aggregate=False, window=False, stable=True)
