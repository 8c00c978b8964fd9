"""Aggregates and window functions. PostgreSQL 15 manual, 9.21 and 9.22; first and last as TimescaleDB has them.

In an aggregate's template ``{a}`` are its arguments with DISTINCT and ORDER BY, ``{f}`` is its FILTER and OVER, which
every DuckDB aggregate in the template needs, ``{0}`` a single argument (then there is no DISTINCT).
"""

from __future__ import annotations

from tsdb.sql.expressions.functions import timeseries
from tsdb.sql.expressions.signature import merge, read

# PostgreSQL divides an avg(integer) to 16 digits after the point (select_div_scale in numeric.c).
_AVG_INTEGER = (
    "CAST(pg_rounded_quotient(CAST(sum({a}){f} AS HUGEINT) * 10000000000000000::HUGEINT, "
    "CAST(nullif(count({a}){f}, 0) AS HUGEINT)) AS DECIMAL(38,0)) * 0.0000000000000001::DECIMAL(17,16)"
)
_SPREADS = (
    ("stddev", "stddev_samp"), ("stddev_samp", "stddev_samp"), ("stddev_pop", "stddev_pop"),
    ("variance", "var_samp"), ("var_samp", "var_samp"), ("var_pop", "var_pop"),
)  # fmt: skip
# Of integers and numerics they are numeric, computed in double precision.
_STATISTICS = "\n".join(
    [f"{name}(float8) float8: {duckdb}({{a}}){{f}}" for name, duckdb in _SPREADS]
    + [
        f"{name}({argument}) numeric:16: CAST({duckdb}({{a}}){{f}} AS DECIMAL(38,16))"
        for name, duckdb in _SPREADS
        for argument in ("int4", "int8", "numeric")
    ]
)
_PAIRS = "\n".join(
    f"{name}(float8, float8) float8: {name}({{a}}){{f}}"
    for name in (
        "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_intercept", "regr_r2", "regr_sxx", "regr_sxy",
        "regr_syy",
    )
)  # fmt: skip
# Where one side does not vary DuckDB divides by zero.
_PAIRS += """
corr(float8, float8) float8: CASE WHEN regr_sxx({a}){f} <> 0 AND regr_syy({a}){f} <> 0 THEN corr({a}){f} END
regr_slope(float8, float8) float8: CASE WHEN regr_sxx({a}){f} <> 0 THEN regr_slope({a}){f} END
"""

# Not of booleans, JSON and uuids, which PostgreSQL does not order or has no such aggregate for.
_EXTREMES = "\n".join(
    f"{name}({argument}) {argument}: {name}({{a}}){{f}}"
    for name in ("min", "max")
    for argument in (
        "int2", "int4", "int8", "float4", "float8", "numeric", "text", "bpchar", "date", "time",
        "timestamp", "timestamptz", "interval", "oid",
    )
)  # fmt: skip

# Of types whose texts do not stand in their values' order.
_EXTREMES += "\n" + "\n".join(
    f"{name}({argument}) {argument}: arg_{name}({{0}}, py_order_key('{argument}', {{0}})){{f}}"
    for name in ("min", "max")
    for argument in ("inet", "money", "timetz")
)

_PLAIN = read(f"""
sum(int2) int8: CAST(sum({{a}}){{f}} AS BIGINT)
sum(int4) int8: CAST(sum({{a}}){{f}} AS BIGINT)
sum(int8) numeric:0: CAST(sum({{a}}){{f}} AS DECIMAL(38,0))
sum(numeric) numeric:@: sum({{a}}){{f}}
sum(float4) float4: CAST(sum({{a}}){{f}} AS FLOAT)
sum(float8) float8: pg_aggregate_in_range(sum({{a}}){{f}}, min({{a}}){{f}}, max({{a}}){{f}})
sum(money) money: py_money(CAST(sum({{d}}py_cents({{0}})){{f}} AS BIGINT))
sum(interval) interval: pg_interval_of(sum(pg_interval_months({{a}})){{f}}, sum(pg_interval_days({{a}})){{f}},
    sum(pg_interval_us({{a}})){{f}})
avg(int2) numeric:16: {_AVG_INTEGER}
avg(int4) numeric:16: {_AVG_INTEGER}
avg(int8) numeric:16: {_AVG_INTEGER}
avg(numeric) numeric:16: CAST(avg(CAST({{a}} AS DOUBLE)){{f}} AS DECIMAL(38,16))
avg(float8) float8: pg_aggregate_in_range(avg({{a}}){{f}}, min({{a}}){{f}}, max({{a}}){{f}})
avg(interval) interval: pg_interval_quotient(sum(pg_interval_months({{a}})){{f}}, sum(pg_interval_days({{a}})){{f}},
    sum(pg_interval_us({{a}})){{f}}, count({{a}}){{f}})
count(any) int8: count({{a}}){{f}}
{_EXTREMES}
min(anyarray) anyarray: min({{a}}){{f}}
min(anyenum) anyenum: min({{a}}){{f}}
max(anyenum) anyenum: max({{a}}){{f}}
max(anyarray) anyarray: max({{a}}){{f}}
bool_and(bool) bool: bool_and({{a}}){{f}}
every(bool) bool: bool_and({{a}}){{f}}
bool_or(bool) bool: bool_or({{a}}){{f}}
bit_and(int4) int4: bit_and({{a}}){{f}}
bit_and(int8) int8: bit_and({{a}}){{f}}
bit_or(int4) int4: bit_or({{a}}){{f}}
bit_or(int8) int8: bit_or({{a}}){{f}}
string_agg(text, text) text: string_agg({{a}}){{f}}
array_agg(anyelement) anyarray: list({{a}}){{f}}
json_agg(any) json: -
jsonb_agg(any) jsonb: -
json_object_agg(any, any) json: -
jsonb_object_agg(any, any) jsonb: -
bit_xor(int4) int4: bit_xor({{a}}){{f}}
bit_xor(int8) int8: bit_xor({{a}}){{f}}
any_value(anyelement) anyelement: any_value({{a}}){{f}}
first(anyelement, any) anyelement: arg_min_null({{a}}){{f}}
last(anyelement, any) anyelement: arg_max_null({{a}}){{f}}
regr_count(float8, float8) int8: CAST(regr_count({{a}}){{f}} AS BIGINT)
approx_count_distinct(any) int8: approx_count_distinct({{a}}){{f}}
{_STATISTICS}
{_PAIRS}
""")

AGGREGATES = merge(_PLAIN, timeseries.TABLE)

# WITHIN GROUP: the first argument is the fraction, the second what ORDER BY names. Of several values that are there as
# often, mode() gives the first in the order.
ORDERED_SETS = read("""
percentile_cont(float8, float8) float8: quantile_cont({1}, {0}){f}
percentile_cont(float8, interval) interval:
    pg_difference(CAST(quantile_cont(pg_interval_epoch_us({1}), {0}){f} AS BIGINT))
percentile_cont(_float8, float8) _float8: quantile_cont({1}, {0}){f}
percentile_disc(float8, anyelement) anyelement: quantile_disc({1}, {0}){f}
percentile_disc(_float8, anyelement) anyarray: quantile_disc({1}, {0}){f}
mode(anyelement) anyelement: mode({0} ORDER BY {0} {order}){f}
""")

WINDOWS = read("""
row_number() int8: row_number(){f}
rank() int8: rank(){f}
dense_rank() int8: dense_rank(){f}
percent_rank() float8: percent_rank(){f}
cume_dist() float8: cume_dist(){f}
ntile(int4) int4: CAST(ntile({a}){f} AS INTEGER)
lag(anyelement) anyelement: lag({a}){f}
lag(anyelement, int4) anyelement: lag({a}){f}
lag(anyelement, int4, anyelement) anyelement: lag({a}){f}
lead(anyelement) anyelement: lead({a}){f}
lead(anyelement, int4) anyelement: lead({a}){f}
lead(anyelement, int4, anyelement) anyelement: lead({a}){f}
first_value(anyelement) anyelement: first_value({a}){f}
last_value(anyelement) anyelement: last_value({a}){f}
nth_value(anyelement, int4) anyelement: nth_value({a}){f}
""")
