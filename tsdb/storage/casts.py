"""Values of a column from before an ALTER TYPE, read as the kind it has now, by PostgreSQL's casts.

float8 to integers rounds to even and refuses what does not fit; text is parsed; a bool is text ``true`` or ``false``.
A value that cannot be cast is an error that names it, never a silent NULL: change the type back to read it.
Source: PostgreSQL 15 manual, 4.2.9 (type casts) and 8.1 (numeric types).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import InvalidTextRepresentation, NumericValueOutOfRange
from tsdb.types import Kind

# Arrow shows the value, which may be a long one.
_WHY_CHARACTERS = 120
_TRUE = ("t", "true", "y", "yes", "on", "1")
_FALSE = ("f", "false", "n", "no", "off", "0")


def cast(values: pa.Array, source: Kind, target: Kind) -> pa.Array:
    """``values`` of kind ``source`` as ``target``. Raises NumericValueOutOfRange, InvalidTextRepresentation."""
    if source is target:
        return values
    try:
        return _cast(values, source, target)
    except pa.ArrowInvalid as error:
        why = " ".join(str(error).split())
        why = why if len(why) <= _WHY_CHARACTERS else f"{why[:_WHY_CHARACTERS]}…"
        if source is Kind.TEXT:
            raise InvalidTextRepresentation(f"a stored text cannot be read as {target.name.lower()}: {why}") from None
        raise NumericValueOutOfRange(f"a stored value is out of range for {target.name.lower()}: {why}") from None


def _cast(values: pa.Array, source: Kind, target: Kind) -> pa.Array:
    if target is Kind.TEXT:
        return _text_of_floats(values) if source is Kind.FLOAT8 else values.cast(pa.string())
    if source is Kind.TEXT:
        return _bools_of_text(values) if target is Kind.BOOL else _numbers_of_text(values, target)
    if source is Kind.FLOAT8 and target in (Kind.INT8, Kind.UINT8):
        # Arrow's cast checks that nothing is lost; PostgreSQL rounds half to even first.
        return pc.round(values, round_mode="half_to_even").cast(target.arrow)
    if target is Kind.FLOAT8:
        return values.cast(pa.float64(), safe=False)
    return values.cast(target.arrow)


def _text_of_floats(values: pa.Array) -> pa.Array:
    # repr is the shortest text that reads back as the same number; PostgreSQL prints 1e+20 as 1e+20 and 2.0 as 2.
    return pa.array([None if v is None else _float_text(v) for v in values.to_pylist()], pa.string())


def _float_text(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    if "e" not in text and abs(value) >= 1e15:
        text = np.format_float_scientific(value, trim="-", exp_digits=2)
    return text.removesuffix(".0")


def _numbers_of_text(values: pa.Array, target: Kind) -> pa.Array:
    return pc.utf8_trim_whitespace(values).cast(target.arrow)


def _bools_of_text(values: pa.Array) -> pa.Array:
    lowered = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    true = pc.is_in(lowered, value_set=pa.array(_TRUE))
    known = pc.or_(true, pc.is_in(lowered, value_set=pa.array(_FALSE)))
    unknown = values.filter(pc.and_(pc.invert(known), values.is_valid()))
    if len(unknown):
        raise InvalidTextRepresentation(f"a stored text cannot be read as bool: {unknown[0].as_py()[:80]!r}")
    return pc.if_else(values.is_valid(), true, pa.scalar(None, pa.bool_()))
