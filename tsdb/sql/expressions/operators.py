"""Operators that are not comparisons: one line each. PostgreSQL 15 manual, 9.3, 9.4, 9.9, 9.16 and 9.19.

Numeric's + − * / % are in ``numerics``; here they stand for the choice of types alone.
"""

from __future__ import annotations

from tsdb.sql.expressions.signature import read

_INTEGERS = "\n".join(
    f"{operator}({t}, {t}) {t}: {template}"
    for t in ("int2", "int4", "int8")
    for operator, template in (
        ("+", "({0} + {1})"), ("-", "({0} - {1})"), ("*", "({0} * {1})"), ("/", "({0} // {1})"), ("%", "({0} % {1})"),
        ("&", "({0} & {1})"), ("|", "({0} | {1})"), ("#", "xor({0}, {1})"),
    )
)  # fmt: skip
# A real with a number of another type is computed in double precision.
_FLOATS = "\n".join(
    f"{operator}({a}, {b}) {result}: {template}"
    for a, b, result in (
        ("float4", "float4", "float4"), ("float8", "float8", "float8"), ("float4", "float8", "float8"),
        ("float8", "float4", "float8"),
    )
    for operator, template in (
        ("+", "pg_sum_in_range({0}, {1}, {0} + {1})"), ("-", "pg_sum_in_range({0}, {1}, {0} - {1})"),
        ("*", "pg_product({0}, {1})"), ("/", "pg_float_quotient({0}, {1})"),
    )
)  # fmt: skip
_NUMERICS = "\n".join(f"{operator}(numeric, numeric) numeric: -" for operator in "+-*/%")
_MINUS = "\n".join(
    f"-({t}) {t}{':@' if t == 'numeric' else ''}: (-{{0}})"
    for t in ("int2", "int4", "int8", "numeric", "float4", "float8", "interval")
)

OPERATORS = read(f"""
{_INTEGERS}
{_FLOATS}
{_NUMERICS}
{_MINUS}
<<(int4, int4) int4: ({{0}} << {{1}})
<<(int8, int4) int8: ({{0}} << {{1}})
>>(int4, int4) int4: ({{0}} >> {{1}})
>>(int8, int4) int8: ({{0}} >> {{1}})
~(int4) int4: (~{{0}})
~(int8) int8: (~{{0}})
^(float8, float8) float8: pg_float_in_range(pg_power({{0}}, {{1}}))
|/(float8) float8: pg_sqrt({{0}})
||/(float8) float8: cbrt({{0}})
+(timestamptz, interval) timestamptz: ({{0}} + {{1}})
+(interval, timestamptz) timestamptz: ({{1}} + {{0}})
+(timestamp, interval) timestamp: ({{0}} + {{1}})
+(interval, timestamp) timestamp: ({{1}} + {{0}})
+(date, interval) timestamp: (CAST({{0}} AS TIMESTAMP) + {{1}})
+(interval, date) timestamp: (CAST({{1}} AS TIMESTAMP) + {{0}})
+(date, int4) date: CAST({{0}} + {{1}} AS DATE)
+(int4, date) date: CAST({{1}} + {{0}} AS DATE)
+(date, time) timestamp: ({{0}} + {{1}})
+(time, interval) time: CAST({{0}} + {{1}} AS TIME)
+(interval, interval) interval: ({{0}} + {{1}})
-(timestamptz, interval) timestamptz: ({{0}} - {{1}})
-(timestamp, interval) timestamp: ({{0}} - {{1}})
-(date, interval) timestamp: (CAST({{0}} AS TIMESTAMP) - {{1}})
-(date, int4) date: CAST({{0}} - {{1}} AS DATE)
-(date, date) int4: CAST({{0}} - {{1}} AS INTEGER)
-(time, time) interval: to_microseconds(epoch_us({{0}}) - epoch_us({{1}}))
-(time, interval) time: CAST({{0}} - {{1}} AS TIME)
-(timestamptz, timestamptz) interval: pg_difference(epoch_us({{0}}) - epoch_us({{1}}))
-(timestamp, timestamp) interval: pg_difference(epoch_us({{0}}) - epoch_us({{1}}))
-(interval, interval) interval: ({{0}} - {{1}})
*(interval, float8) interval: pg_times({{0}}, {{1}})
*(float8, interval) interval: pg_times({{1}}, {{0}})
/(interval, float8) interval: pg_times({{0}}, pg_float_quotient(1.0::DOUBLE, {{1}}))
->(json, text) json: py_json_member({{0}}, {{1}}, false)
->(jsonb, text) jsonb: py_json_member({{0}}, {{1}}, false)
->(json, int4) json: py_json_element({{0}}, CAST({{1}} AS BIGINT), false)
->(jsonb, int4) jsonb: py_json_element({{0}}, CAST({{1}} AS BIGINT), false)
->>(json, text) text: pg_json_member_text({{0}}, {{1}})
->>(jsonb, text) text: pg_json_member_text({{0}}, {{1}})
->>(json, int4) text: py_json_element({{0}}, CAST({{1}} AS BIGINT), true)
->>(jsonb, int4) text: py_json_element({{0}}, CAST({{1}} AS BIGINT), true)
#>(json, _text) json: py_json_at({{0}}, {{1}}, false)
#>(jsonb, _text) jsonb: py_json_at({{0}}, {{1}}, false)
#>>(json, _text) text: py_json_at({{0}}, {{1}}, true)
#>>(jsonb, _text) text: py_json_at({{0}}, {{1}}, true)
@>(jsonb, jsonb) bool: py_jsonb_contains({{0}}, {{1}})
<@(jsonb, jsonb) bool: py_jsonb_contains({{1}}, {{0}})
?(jsonb, text) bool: py_jsonb_has({{0}}, {{1}})
?|(jsonb, _text) bool: list_bool_or(list_transform({{1}}, lambda pg_item: py_jsonb_has({{0}}, pg_item)))
?&(jsonb, _text) bool: list_bool_and(list_transform({{1}}, lambda pg_item: py_jsonb_has({{0}}, pg_item)))
||(jsonb, jsonb) jsonb: py_jsonb_concat({{0}}, {{1}})
-(jsonb, text) jsonb: py_jsonb_without({{0}}, [{{1}}])
-(jsonb, _text) jsonb: py_jsonb_without({{0}}, {{1}})
-(jsonb, int4) jsonb: py_jsonb_without_index({{0}}, CAST({{1}} AS BIGINT))
#-(jsonb, _text) jsonb: py_jsonb_changed({{0}}, {{1}}, '', 'delete')
^@(text, text) bool: starts_with({{0}}, {{1}})
@(int4) int4: abs({{0}})
@(int8) int8: abs({{0}})
@(numeric) numeric:@: abs({{0}})
@(float8) float8: abs({{0}})
@>(anyarray, anyarray) bool: list_has_all({{0}}, {{1}})
<@(anyarray, anyarray) bool: list_has_all({{1}}, {{0}})
&&(anyarray, anyarray) bool: list_has_any({{0}}, {{1}})
~(text, text) bool: regexp_matches({{0}}, {{1}})
~*(text, text) bool: regexp_matches({{0}}, {{1}})
!~(text, text) bool: (NOT regexp_matches({{0}}, {{1}}))
!~*(text, text) bool: (NOT regexp_matches({{0}}, {{1}}))
""")
