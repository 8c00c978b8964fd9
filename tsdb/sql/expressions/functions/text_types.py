"""Operators and functions of the types whose values are texts inside: inet, money, timetz, ranges, point.

PostgreSQL 15 manual, 9.3, 9.9, 9.11, 9.12, 9.20. lower(), upper() and the constructors of ranges: ``bind.ranges``.
"""

from __future__ import annotations

from tsdb.sql.expressions.signature import read

# A range type, the type of its bounds, and a bound's text in UTC.
SUBTYPES = {
    "int4range": "int4", "int8range": "int8", "numrange": "numeric", "daterange": "date", "tsrange": "timestamp",
    "tstzrange": "timestamptz",
}  # fmt: skip


def bound_text(kind: str, sql: str) -> str:
    """DuckDB's text of a bound as the functions of ``computed.ranges`` read it."""
    return f"CAST(timezone('UTC', {sql}) AS VARCHAR)" if kind == "tstzrange" else f"CAST({sql} AS VARCHAR)"


_RANGE_OPERATORS = "\n".join(
    line
    for kind, element in SUBTYPES.items()
    for line in (
        f"@>({kind}, {kind}) bool: py_range_test('{kind}', '@>', {{0}}, {{1}})",
        f"<@({kind}, {kind}) bool: py_range_test('{kind}', '@>', {{1}}, {{0}})",
        f"@>({kind}, {element}) bool: py_range_has('{kind}', {{0}}, {bound_text(kind, '{1}')})",
        f"<@({element}, {kind}) bool: py_range_has('{kind}', {{1}}, {bound_text(kind, '{0}')})",
        *(f"{s}({kind}, {kind}) bool: py_range_test('{kind}', '{s}', {{0}}, {{1}})"
          for s in ("&&", "<<", ">>", "&<", "&>", "-|-")),
        *(f"{s}({kind}, {kind}) {kind}: py_range_operation('{kind}', '{s}', {{0}}, {{1}})" for s in "+*-"),
    )
)  # fmt: skip
_RANGE_FUNCTIONS = "\n".join(
    line
    for kind in SUBTYPES
    for line in (
        *(f"{name}({kind}) bool: py_range_is('{kind}', '{name}', {{0}})"
          for name in ("isempty", "lower_inc", "upper_inc", "lower_inf", "upper_inf")),
        f"range_merge({kind}, {kind}) {kind}: py_range_operation('{kind}', 'merge', {{0}}, {{1}})",
    )
)  # fmt: skip
_INET_TEXTS = "\n".join(
    f"{name}(inet) {result}: py_inet_text('{name}', {{0}})"
    for name, result in (
        ("host", "text"), ("text", "text"), ("network", "cidr"), ("netmask", "inet"), ("hostmask", "inet"),
        ("broadcast", "inet"), ("abbrev", "text"),
    )
)  # fmt: skip
_MONEY_NUMBERS = "\n".join(
    f"{symbol}(money, {number}) money: {function}('{symbol}', {{0}}, {{1}})"
    for symbol in "*/"
    for number, function in (
        ("float8", "py_money_scaled"), ("float4", "py_money_scaled"), ("int8", "py_money_times"),
        ("int4", "py_money_times"), ("int2", "py_money_times"),
    )
)  # fmt: skip
_NUMBERS_MONEY = "\n".join(
    f"*({number}, money) money: {function}('*', {{1}}, {{0}})"
    for number, function in (
        ("float8", "py_money_scaled"), ("float4", "py_money_scaled"), ("int8", "py_money_times"),
        ("int4", "py_money_times"), ("int2", "py_money_times"),
    )
)  # fmt: skip

OPERATORS = read(f"""
{_RANGE_OPERATORS}
<<(inet, inet) bool: py_inet_test('<<', {{0}}, {{1}})
<<=(inet, inet) bool: py_inet_test('<<=', {{0}}, {{1}})
>>(inet, inet) bool: py_inet_test('<<', {{1}}, {{0}})
>>=(inet, inet) bool: py_inet_test('<<=', {{1}}, {{0}})
&&(inet, inet) bool: py_inet_test('&&', {{0}}, {{1}})
~(inet) inet: py_inet_text('~', {{0}})
&(inet, inet) inet: py_inet_bits('&', {{0}}, {{1}})
|(inet, inet) inet: py_inet_bits('|', {{0}}, {{1}})
+(inet, int8) inet: py_inet_plus({{0}}, {{1}})
+(int8, inet) inet: py_inet_plus({{1}}, {{0}})
-(inet, int8) inet: py_inet_plus({{0}}, -{{1}})
-(inet, inet) int8: py_inet_minus({{0}}, {{1}})
+(money, money) money: py_money_sum('+', {{0}}, {{1}})
-(money, money) money: py_money_sum('-', {{0}}, {{1}})
/(money, money) float8: pg_float_quotient(CAST(py_cents({{0}}) AS DOUBLE), CAST(py_cents({{1}}) AS DOUBLE))
{_MONEY_NUMBERS}
{_NUMBERS_MONEY}
+(timetz, interval) timetz: py_timetz_plus({{0}}, pg_interval_us({{1}}))
+(interval, timetz) timetz: py_timetz_plus({{1}}, pg_interval_us({{0}}))
-(timetz, interval) timetz: py_timetz_plus({{0}}, -pg_interval_us({{1}}))
+(date, timetz) timestamptz: CAST(CAST({{0}} AS VARCHAR) || ' ' || {{1}} AS TIMESTAMPTZ)
+(timetz, date) timestamptz: CAST(CAST({{1}} AS VARCHAR) || ' ' || {{0}} AS TIMESTAMPTZ)
<->(point, point) float8: py_point_distance({{0}}, {{1}})
~=(point, point) bool: ({{0}} = {{1}})
+(point, point) point: py_point_operation('+', {{0}}, {{1}})
-(point, point) point: py_point_operation('-', {{0}}, {{1}})
""")

TABLE = read(f"""
{_RANGE_FUNCTIONS}
{_INET_TEXTS}
abbrev(cidr) text: py_inet_text('abbrev cidr', {{0}})
family(inet) int4: CAST(py_inet_number('family', {{0}}) AS INTEGER)
masklen(inet) int4: CAST(py_inet_number('masklen', {{0}}) AS INTEGER)
set_masklen(inet, int4) inet: py_inet_length('inet', {{0}}, CAST({{1}} AS BIGINT))
set_masklen(cidr, int4) cidr: py_inet_length('cidr', {{0}}, CAST({{1}} AS BIGINT))
inet_merge(inet, inet) cidr: py_inet_merge({{0}}, {{1}})
inet_same_family(inet, inet) bool: (py_inet_number('family', {{0}}) = py_inet_number('family', {{1}}))
point(float8, float8) point: py_point({{0}}, {{1}})
trunc(macaddr) macaddr: (left({{0}}, 9) || '00:00:00')
""")
