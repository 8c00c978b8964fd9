"""money: dollars and cents, as with lc_monetary C. Source: PostgreSQL 15 manual, 8.2; cash.c."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from tsdb.errors import DivisionByZero, InvalidTextRepresentation, NumericValueOutOfRange
from tsdb.sql.computed.registry import computed

_MONEY = re.compile(r"\s*(\()?\s*([+-])?\s*\$?\s*([+-])?\s*(\d[\d,]*(?:\.\d*)?|\.\d+)\s*(\))?\s*")


def read(text: str) -> str:
    """The text that PostgreSQL prints. Raises 22P02, 22003."""
    found = _MONEY.fullmatch(text)
    if found is None or (found[1] is None) != (found[5] is None) or (found[2] and found[3]):
        raise InvalidTextRepresentation(f'invalid input syntax for type money: "{text[:200]}"')
    count = int((Decimal(found[4].replace(",", "")) * 100).quantize(Decimal(1), ROUND_HALF_UP))
    if found[1] or "-" in (found[2], found[3]):
        count = -count
    if not -(2**63) <= count < 2**63:
        raise NumericValueOutOfRange(f'value "{text.strip()[:50]}" is out of range for type money')
    return _text(count)


def _text(count: int) -> str:
    return f"{'-' if count < 0 else ''}${abs(count) // 100:,}.{abs(count) % 100:02d}"


@computed("py_money", "BIGINT", result="VARCHAR")
def show(count: int) -> str:
    """A number of cents as PostgreSQL prints it."""
    return _text(count)


@computed("py_cents", "VARCHAR", result="BIGINT")
def cents(text: str) -> int:
    """The cents of a text that PostgreSQL prints."""
    return int(text.translate({ord("$"): None, ord(","): None, ord("."): None}))


def _checked(count: int) -> str:
    if not -(2**63) <= count < 2**63:
        raise NumericValueOutOfRange("money out of range")
    return _text(count)


@computed("py_money_sum", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def added(symbol: str, left: str, right: str) -> str:
    """+ and - of two sums of money."""
    return _checked(cents(left) + cents(right) if symbol == "+" else cents(left) - cents(right))


@computed("py_money_scaled", "VARCHAR", "VARCHAR", "DOUBLE", result="VARCHAR")
def scaled(symbol: str, text: str, factor: float) -> str:
    """money * float8 and money / float8, rounded to even cents."""
    if symbol == "/" and factor == 0:
        raise DivisionByZero("division by zero")
    made = cents(text) * factor if symbol == "*" else cents(text) / factor
    if made != made or abs(made) >= 2**63:
        raise NumericValueOutOfRange("money out of range")
    return _checked(round(made))


@computed("py_money_times", "VARCHAR", "VARCHAR", "BIGINT", result="VARCHAR")
def times(symbol: str, text: str, factor: int) -> str:
    """money * int8 and money / int8, which cuts what is left of a cent."""
    if symbol == "*":
        return _checked(cents(text) * factor)
    if factor == 0:
        raise DivisionByZero("division by zero")
    whole = abs(cents(text)) // abs(factor)
    return _checked(whole if (cents(text) < 0) == (factor < 0) else -whole)
