"""VALUES of mere constants and parameters: to columns without running a query. What ORMs and executemany send.

A cell is a string, a number, TRUE, FALSE, NULL, a parameter, ``now()``, a string cast to its column's type, DEFAULT.
``recognize`` gives None for anything else, and wherever an assignment would convert by more than reading the value's
text as its column's type: then the general way through ``Queries`` is taken, which gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from decimal import Context as DecimalContext
from typing import Any

import pyarrow as pa
from sqlglot import exp

from tsdb.errors import NumericValueOutOfRange, TsdbError
from tsdb.model.schema import Column
from tsdb.sql import literal, storage_form, trees, type_names
from tsdb.sql.context import Context
from tsdb.sql.datetime_text import INFINITY
from tsdb.sql.intervals import Interval
from tsdb.types import (
    BOOL,
    BPCHAR,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    INTERVAL,
    NUMERIC,
    TEXT,
    TIMESTAMPTZ,
    UINT8,
    VARCHAR,
    SqlType,
)

_INTEGERS = (INT2, INT4, INT8)
_NUMBERS = (*_INTEGERS, FLOAT4, FLOAT8, NUMERIC, UINT8)
_TEXTS = (TEXT, VARCHAR, BPCHAR)
_NOW = ("now", "transaction_timestamp", "current_timestamp")
_EXACT = DecimalContext(prec=100)
# DuckDB's; that of timestamps is INFINITY itself.
_DATE_INFINITY = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Text:
    """A constant by its text; None is NULL."""

    text: str | None


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a parameter, counted from 0."""

    parameter: int


@dataclass(frozen=True, slots=True)
class Now:
    pass


Cell = Text | Value | Now
_NULL = Text(None)


@dataclass(frozen=True)
class ConstantRows:
    """``cells`` by column, each as long as there are rows."""

    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    parameters: tuple[SqlType, ...]

    @property
    def count(self) -> int:
        return len(self.cells[0]) if self.cells else 0

    def batch(self, values: Sequence[object | None], context: Context) -> pa.RecordBatch:
        """The rows, each column in its query form. Raises 22P02, 22003, 22007, 22008."""
        arrays = [
            array_of(column, [_value(cell, column, values, context) for cell in cells])
            for column, cells in zip(self.columns, self.cells, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, [f"c{i}" for i in range(len(arrays))])


def recognize(
    columns: Sequence[Column],
    rows: Sequence[Sequence[exp.Expr]],
    defaults: Sequence[exp.Expr],
    types: Sequence[SqlType | None],
) -> ConstantRows | None:
    """``defaults`` stand where a row says DEFAULT; ``types`` are the client's for the parameters."""
    found = _Recognition(types)
    by_row: list[list[Cell]] = []
    for row in rows:
        cells: list[Cell] = []
        for value, column, default in zip(row, columns, defaults, strict=True):
            cell = found.cell(default if is_default(value) else value, column)
            if cell is None:
                return None
            cells.append(cell)
        by_row.append(cells)
    parameters = found.parameters()
    if parameters is None or not columns:
        return None
    return ConstantRows(tuple(columns), tuple(zip(*by_row, strict=True)), parameters)


def is_default(value: exp.Expr) -> bool:
    if isinstance(value, exp.Column) and value.args.get("table") is not None:
        return False
    return isinstance(value, exp.Var | exp.Column) and trees.name_of(value) == "default"


class _Recognition:
    def __init__(self, types: Sequence[SqlType | None]) -> None:
        self._given = types
        self._types: dict[int, SqlType] = {}

    def parameters(self) -> tuple[SqlType, ...] | None:
        """All types from $1 on; None if one is missing."""
        count = max([len(self._given), *(i + 1 for i in self._types)], default=0)
        found = [self._types.get(i) for i in range(count)]
        return None if None in found else tuple(each for each in found if each is not None)

    def cell(self, value: exp.Expr, column: Column) -> Cell | None:
        if isinstance(value, exp.Paren):
            return self.cell(value.this, column)
        if isinstance(value, exp.Null):
            return _NULL
        if isinstance(value, exp.Boolean):
            return Text("true" if value.this else "false") if column.type == BOOL else None
        if isinstance(value, exp.Literal):
            return _literal(value, column, "")
        if isinstance(value, exp.Neg) and isinstance(value.this, exp.Literal) and not value.this.is_string:
            return _literal(value.this, column, "-")
        if isinstance(value, exp.Parameter):
            return self._parameter(value, column)
        if isinstance(value, exp.Cast):
            return self._cast(value, column)
        now = isinstance(value, exp.CurrentTimestamp) and not value.this
        if isinstance(value, exp.Anonymous) and not value.expressions:
            now = str(value.this).lower() in _NOW
        return Now() if now and column.type == TIMESTAMPTZ else None

    def _cast(self, value: exp.Cast, column: Column) -> Cell | None:
        """A string or a parameter, cast to exactly the column's type."""
        inner = value.this
        if not isinstance(inner, exp.Null | exp.Parameter) and not (isinstance(inner, exp.Literal) and inner.is_string):
            return None
        try:
            target, typmod = type_names.of_node(value.args["to"])
        except TsdbError:
            return None
        return self.cell(inner, column) if target == column.type and typmod in (-1, column.typmod) else None

    def _parameter(self, value: exp.Expr, column: Column) -> Cell | None:
        number = value.this
        if not isinstance(number, exp.Literal) or number.is_string or not str(number.this).isdigit():
            return None
        index = int(number.this) - 1
        given = self._given[index] if 0 <= index < len(self._given) else None
        wanted = given or column.type
        if index < 0 or self._types.setdefault(index, wanted) != wanted or not _readable(wanted, column.type):
            return None
        return Value(index)


def _readable(given: SqlType, wanted: SqlType) -> bool:
    """Whether a value of one type, as a Python value or as text, is read as the other without a loss."""
    if given == wanted:
        return True
    if given in _INTEGERS:
        return wanted in _NUMBERS
    if given in (FLOAT4, FLOAT8):
        return wanted in (FLOAT4, FLOAT8)
    return given in _TEXTS and wanted in _TEXTS


def _literal(value: exp.Literal, column: Column, sign: str) -> Cell | None:
    text = str(value.this)
    if value.is_string:
        return Text(text)
    if text.isdigit():
        return Text(sign + text) if column.type in _NUMBERS else None
    return Text(sign + text) if column.type in (FLOAT4, FLOAT8, NUMERIC) else None


def _value(cell: Cell, column: Column, values: Sequence[object | None], context: Context) -> Any:
    if isinstance(cell, Now):
        return context.now_us
    plain = values[cell.parameter] if isinstance(cell, Value) else cell.text
    return None if plain is None else read_value(column, plain, context)


def read_value(column: Column, plain: object, context: Context) -> Any:
    """A text, or a parameter's value, as ``array_of`` takes it. Raises 22P02, 22003, 22007, 22008."""
    if column.type != UINT8:
        return literal.of_python(column.type, plain, context)
    number = literal.of_python(NUMERIC, plain, context)
    assert isinstance(number, Decimal)
    whole = int(number.to_integral_value(ROUND_HALF_UP))
    if not 0 <= whole < 2**64:
        raise NumericValueOutOfRange(f'value "{whole}" for column "{column.name}" is out of range')
    return whole


def array_of(column: Column, values: list[Any]) -> pa.Array:
    """Values in the column's query form. Raises NumericValueOutOfRange."""
    arrow = storage_form.arrow_type(column)
    element = column.type.element
    if element is not None:
        inner = arrow.value_type
        values = [None if v is None else [_arrow_value(element, inner, column, e) for e in v] for v in values]
    elif column.type in (NUMERIC, INTERVAL, DATE):
        values = [_arrow_value(column.type, arrow, column, each) for each in values]
    return pa.array(values, arrow)


def _arrow_value(sql_type: SqlType, arrow: pa.DataType, column: Column, value: Any) -> Any:
    if isinstance(value, Interval):
        return (value.months, value.days, value.microseconds * 1000)
    if sql_type == DATE and isinstance(value, int) and abs(value) == INFINITY:
        return _DATE_INFINITY if value > 0 else -_DATE_INFINITY
    if sql_type != NUMERIC or value is None:
        return value
    if pa.types.is_string(arrow):
        return f"{Decimal(value):f}"
    try:
        rounded = Decimal(value).quantize(Decimal(1).scaleb(-arrow.scale), ROUND_HALF_UP, _EXACT)
    except InvalidOperation:
        rounded = Decimal(10) ** arrow.precision
    if abs(rounded) >= Decimal(10) ** (arrow.precision - arrow.scale):
        raise NumericValueOutOfRange(
            "numeric field overflow",
            detail=f"A field with precision {arrow.precision}, scale {arrow.scale} must round to an absolute value "
            f"less than 10^{arrow.precision - arrow.scale}.",
        )
    return rounded
