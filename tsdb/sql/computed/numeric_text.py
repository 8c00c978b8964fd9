"""numeric's exact values by their texts: a number has the scale PostgreSQL gives it, not its column's.

Inside a statement numerics are DuckDB's DECIMALs, whose scale is the column's; where one is shown, its text is made
here from the texts of its operands. Source: PostgreSQL 15, numeric.c (select_div_scale, mul_var, numeric_in).
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation, Overflow

from tsdb.errors import DataError, DivisionByZero, InvalidTextRepresentation, NumericValueOutOfRange
from tsdb.sql.computed.registry import computed


class InvalidArgumentForLogarithm(DataError):
    sqlstate = "2201E"


class InvalidArgumentForPower(DataError):
    sqlstate = "2201F"


_MIN_SIGNIFICANT_DIGITS = 16
_SCALE_MAX = 1000
_EXACT = Context(prec=2000)


def _scale(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _weight(value: Decimal) -> tuple[int, int]:
    """(weight, first digit) of a number in base 10000, whose first digit has that weight."""
    if value.is_zero():
        return 0, 0
    weight = value.adjusted() // 4
    return weight, int(abs(_EXACT.scaleb(value, -4 * weight)))


def quotient_scale(left: Decimal, right: Decimal) -> int:
    """The digits after the point of a quotient: at least 16 significant ones."""
    (lw, ld), (rw, rd) = _weight(left), _weight(right)
    weight = lw - rw - (1 if ld <= rd else 0)
    return min(_SCALE_MAX, max(_MIN_SIGNIFICANT_DIGITS - weight * 4, _scale(left), _scale(right), 0))


def rounded(value: Decimal, scale: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _EXACT)


@computed("py_numeric_operation", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def operation(symbol: str, left_text: str, right_text: str) -> str:
    """+ - * / % of two numerics."""
    left, right = Decimal(left_text), Decimal(right_text)
    if symbol in "/%" and right.is_zero():
        raise DivisionByZero("division by zero")
    if symbol == "+":
        made = _EXACT.add(left, right)
    elif symbol == "-":
        made = _EXACT.subtract(left, right)
    elif symbol == "*":
        made = _EXACT.multiply(left, right)
    elif symbol == "%":
        made = rounded(_EXACT.remainder(left, right), max(_scale(left), _scale(right)))
    else:
        made = rounded(_EXACT.divide(left, right), quotient_scale(left, right))
    return _text(made)


def _text(value: Decimal) -> str:
    return f"{abs(value):f}" if value.is_zero() else f"{value:f}"


@computed("py_numeric", "VARCHAR", result="VARCHAR")
def numeric(text: str) -> str:
    """numeric's text of a number's text: no exponent, no blanks, no plus."""
    try:
        return _text(Decimal(text.strip()))
    except InvalidOperation:
        raise InvalidTextRepresentation(f'invalid input syntax for type numeric: "{text}"') from None


@computed("py_numeric_scaled", "VARCHAR", "BIGINT", result="VARCHAR")
def scaled(text: str, scale: int) -> str:
    """The number with so many digits after the point."""
    return _text(rounded(Decimal(text), scale))


@computed("py_numeric_scale", "VARCHAR", result="BIGINT")
def scale_of(text: str) -> int:
    return _scale(Decimal(text))


@computed("py_numeric_trimmed", "VARCHAR", result="VARCHAR")
def trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _significant(value: Decimal, *scales: int) -> Decimal:
    """A result with 16 significant digits, or more if its arguments have more after the point."""
    before = max(0, value.adjusted()) if value else 0
    return rounded(value, min(_SCALE_MAX, max(_MIN_SIGNIFICANT_DIGITS - before, 0, *scales)))


@computed("py_numeric_function", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def function(name: str, text: str, other_text: str) -> str:
    """sqrt, exp, ln, log (of ``text`` to the base ``other_text``) and power, with the digits of numeric.c."""
    value, other = Decimal(text), Decimal(other_text)
    try:
        return _text(_evaluated(name, value, other))
    except (InvalidOperation, Overflow):
        raise NumericValueOutOfRange("value overflows numeric format") from None


def _evaluated(name: str, value: Decimal, other: Decimal) -> Decimal:
    if name == "sqrt":
        if value < 0:
            raise InvalidArgumentForPower("cannot take square root of a negative number")
        weight = (value.adjusted() // 4 + 1) * 2 - 1 if value else 0
        return rounded(_LONG.sqrt(value), max(_MIN_SIGNIFICANT_DIGITS - weight, _scale(value), 0))
    if name == "exp":
        return _significant(_LONG.exp(value), _scale(value))
    if name in ("ln", "log"):
        for each in (value, other) if name == "log" else (value,):
            if each <= 0:
                what = "zero" if each == 0 else "a negative number"
                raise InvalidArgumentForLogarithm(f"cannot take logarithm of {what}")
        made = _LONG.ln(value) if name == "ln" else _LONG.divide(_LONG.ln(value), _LONG.ln(other))
        return _significant(made, _scale(value), _scale(other) if name == "log" else 0)
    if value == 0 and other < 0:
        raise InvalidArgumentForPower("zero raised to a negative power is undefined")
    if value < 0 and other != other.to_integral_value():
        raise InvalidArgumentForPower("a negative number raised to a non-integer power yields a complex result")
    return _significant(_LONG.power(value, other), _scale(value), _scale(other))


_LONG = Context(prec=80)
