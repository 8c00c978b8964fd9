"""numeric's exact values by their texts: a number has the scale PostgreSQL gives it, not its column's.

Inside a statement numerics are DuckDB's DECIMALs, whose scale is the column's; where one is shown, its text is made
here from the texts of its operands. Source: PostgreSQL 15, numeric.c (select_div_scale, mul_var, numeric_in).
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from tsdb.errors import DivisionByZero, InvalidTextRepresentation
from tsdb.sql.computed.registry import computed

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


def _function_scale(value: Decimal, digits_before: int) -> int:
    return min(_SCALE_MAX, max(_MIN_SIGNIFICANT_DIGITS - digits_before, _scale(value), 0))


@computed("py_numeric_function", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def function(name: str, text: str, other_text: str) -> str:
    """sqrt, exp, ln, log (to a base) and power of numerics, with the digits of numeric.c."""
    value, other = Decimal(text), Decimal(other_text)
    if name == "sqrt":
        weight = value.adjusted() // 4 if value else 0
        digits = weight * 2 + 1 if weight >= 0 else 1 - ((-weight - 1) * 2) - 1
        return _text(rounded(_EXACT_SHORT.sqrt(value), _function_scale(value, max(digits, -_SCALE_MAX))))
    if name == "exp":
        made = _EXACT_SHORT.exp(value)
        return _text(rounded(made, _function_scale(value, max(0, int(value * Decimal("0.4342944819"))))))
    if name == "ln":
        made = _EXACT_SHORT.ln(value)
        return _text(rounded(made, _function_scale(value, max(0, made.adjusted() if made else 0))))
    if name == "log":
        made = _EXACT_SHORT.divide(_EXACT_SHORT.ln(value), _EXACT_SHORT.ln(other))
        before = max(0, made.adjusted() if made else 0)
        return _text(rounded(made, max(_function_scale(value, before), _scale(other))))
    made = _EXACT_SHORT.power(value, other)
    before = max(0, made.adjusted() if made else 0)
    return _text(rounded(made, max(_function_scale(value, before), _scale(other))))


_EXACT_SHORT = Context(prec=80)
