"""Arithmetic of numeric: DuckDB's DECIMALs have one scale a column, PostgreSQL's a scale a value.

A quotient has 16 digits after the point, or the most of its operands (PostgreSQL: at least 16 significant digits,
select_div_scale in numeric.c). All digits that are there are right; a result beyond 38 digits is 22003.
"""

from __future__ import annotations

from tsdb.sql.expressions.expression import Expr

Digits = tuple[int, int]
QUOTIENT_SCALE = 16
# A product's scale beyond this would leave too few digits before the point.
PRODUCT_SCALE_MAX = 24


def decimal(sql: str, digits: Digits) -> str:
    return f"CAST({sql} AS DECIMAL({digits[0]},{digits[1]}))"


def plus(left: Expr, right: Expr, sign: str, ld: Digits, rd: Digits) -> tuple[str, Digits]:
    scale = max(ld[1], rd[1])
    whole = max(ld[0] - ld[1], rd[0] - rd[1]) + 1
    digits = (min(38, whole + scale), scale)
    return f"CAST({decimal(left.sql, digits)} {sign} {decimal(right.sql, digits)} AS DECIMAL(38,{scale}))", (38, scale)


def times(left: Expr, right: Expr, ld: Digits, rd: Digits) -> tuple[str, Digits]:
    a, b = left.sql, right.sql
    if ld[1] + rd[1] > PRODUCT_SCALE_MAX:
        if ld[1] > rd[1]:
            ld = (38, max(PRODUCT_SCALE_MAX - rd[1], PRODUCT_SCALE_MAX // 2))
        if ld[1] + rd[1] > PRODUCT_SCALE_MAX:
            rd = (38, max(PRODUCT_SCALE_MAX - ld[1], 0))
    scale = ld[1] + rd[1]
    # Of operands of at most 18 digits DuckDB makes a product of at most 18: it is told that they are wider, unless
    # both are small.
    if ld[0] + rd[0] > 18:
        ld, rd = (38, ld[1]), (38, rd[1])
    left_text, right_text = decimal(a, ld), decimal(b, rd)
    return f"CAST({left_text} * {right_text} AS DECIMAL(38,{scale}))", (38, scale)


def modulo(left: Expr, right: Expr, ld: Digits, rd: Digits) -> tuple[str, Digits]:
    scale = max(ld[1], rd[1])
    digits = (38, scale)
    return f"CAST({decimal(left.sql, digits)} % {decimal(right.sql, digits)} AS DECIMAL(38,{scale}))", digits


def over(left_sql: str, right_sql: str, ld: Digits, rd: Digits) -> tuple[str, Digits]:
    """The quotient in whole numbers: (a·10^r) / b, rounded half away from zero."""
    scale = max(QUOTIENT_SCALE, ld[1], rd[1])
    shift = scale + rd[1] - ld[1]
    top = f"{whole(left_sql, ld)} * CAST({10**shift} AS HUGEINT)"
    quotient = f"pg_rounded_quotient({top}, {whole(right_sql, rd)})"
    return from_whole(quotient, scale), (38, scale)


def whole(sql: str, digits: Digits) -> str:
    """A DECIMAL's digits as a HUGEINT: 12.50 is 1250."""
    precision, scale = digits
    if scale == 0:
        return f"CAST({sql} AS HUGEINT)"
    if precision + scale <= 38:
        return f"CAST({decimal(sql, (38, scale))} * CAST({10**scale} AS DECIMAL({scale + 1},0)) AS HUGEINT)"
    # The product would not fit in 38 digits; its text without the point does.
    return f"CAST(replace(CAST({decimal(sql, digits)} AS VARCHAR), '.', '') AS HUGEINT)"


def from_whole(sql: str, scale: int, precision: int = 38) -> str:
    """The inverse of ``whole``: a product with the smallest unit moves the point and no digit. A ``precision`` of 18
    keeps it in 64 bits."""
    unit = f"{0:.{scale - 1}f}1" if scale > 1 else "0.1"
    return f"(CAST({sql} AS DECIMAL({precision},0)) * CAST('{unit}' AS DECIMAL({scale + 1},{scale})))"
