"""Functions of texts, numbers, arrays, JSON, and of the system. PostgreSQL 15 manual, 9.3 to 9.19 and 9.26."""

from __future__ import annotations

from tsdb.sql.signature import merge, read

TEXTS = read("""
length(text) int4: CAST(length({0}) AS INTEGER)
length(bytea) int4: CAST(octet_length({0}) AS INTEGER)
char_length(text) int4: CAST(length({0}) AS INTEGER)
character_length(text) int4: CAST(length({0}) AS INTEGER)
octet_length(text) int4: CAST(strlen({0}) AS INTEGER)
octet_length(bytea) int4: CAST(octet_length({0}) AS INTEGER)
bit_length(text) int4: CAST(strlen({0}) * 8 AS INTEGER)
lower(text) text: lower({0})
upper(text) text: upper({0})
initcap(text) text: pg_initcap({0})
reverse(text) text: reverse({0})
ascii(text) int4: CAST(ascii({0}) AS INTEGER)
chr(int4) text: pg_chr({0})
md5(text) text: md5({0})
sha256(bytea) bytea: from_hex(sha256({0}))
left(text, int4) text: left({0}, {1})
right(text, int4) text: right({0}, {1})
lpad(text, int4) text: pg_lpad({0}, {1}, ' ')
lpad(text, int4, text) text: pg_lpad({0}, {1}, {2})
rpad(text, int4) text: pg_rpad({0}, {1}, ' ')
rpad(text, int4, text) text: pg_rpad({0}, {1}, {2})
ltrim(text) text: ltrim({0}, ' ')
ltrim(text, text) text: ltrim({0}, {1})
rtrim(text) text: rtrim({0}, ' ')
rtrim(text, text) text: rtrim({0}, {1})
btrim(text) text: trim({0}, ' ')
btrim(text, text) text: trim({0}, {1})
repeat(text, int4) text: repeat({0}, pg_repeats({0}, {1}))
replace(text, text, text) text: CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, {2}) END
translate(text, text, text) text: translate({0}, {1}, {2})
strpos(text, text) int4: CAST(strpos({0}, {1}) AS INTEGER)
position(text, text) int4: CAST(strpos({1}, {0}) AS INTEGER)
starts_with(text, text) bool: starts_with({0}, {1})
split_part(text, text, int4) text: pg_split_part({0}, {1}, {2})
substr(text, int4) text: pg_substr({0}, {1})
substr(text, int4, int4) text: pg_substring({0}, {1}, {2})
substring(text, int4) text: pg_substr({0}, {1})
substring(text, int4, int4) text: pg_substring({0}, {1}, {2})
substring(text, text) text: pg_regexp_match({0}, {1})[1]
overlay(text, text, int4) text: (left({0}, {2} - 1) || {1} || substring({0}, {2} + length({1})))
overlay(text, text, int4, int4) text: (left({0}, {2} - 1) || {1} || substring({0}, {2} + {3}))
regexp_replace(text, text, text) text: regexp_replace({0}, {1}, {2})
regexp_replace(text, text, text, text) text: regexp_replace({0}, {1}, {2}, {3})
regexp_match(text, text) _text: pg_regexp_match({0}, {1})
regexp_matches(text, text) _text: pg_regexp_match({0}, {1})
regexp_split_to_array(text, text) _text: regexp_split_to_array({0}, {1})
regexp_count(text, text) int4: CAST(len(regexp_extract_all({0}, {1})) AS INTEGER)
regexp_like(text, text) bool: regexp_matches({0}, {1})
string_to_array(text, text) _text: CASE WHEN {0} = '' THEN CAST([] AS VARCHAR[]) ELSE string_split({0}, {1}) END
quote_ident(text) text: pg_quote_ident({0})
quote_literal(text) text: pg_quote_literal({0})
quote_nullable(text) text: coalesce(pg_quote_literal({0}), 'NULL')
to_hex(int4) text: lower(to_hex({0}))
to_hex(int8) text: lower(to_hex({0}))
encode(bytea, text) text: CASE lower({1}) WHEN 'hex' THEN lower(hex({0})) WHEN 'base64' THEN to_base64({0})
    ELSE pg_raise('22023:unrecognized encoding: "' || {1} || '"') END
decode(text, text) bytea: CASE lower({1}) WHEN 'hex' THEN from_hex({0}) WHEN 'base64' THEN from_base64({0})
    ELSE pg_raise('22023:unrecognized encoding: "' || {1} || '"') END
convert_from(bytea, text) text: decode({0})
convert_to(text, text) bytea: encode({0})
ends_with(text, text) bool: ends_with({0}, {1})
""")

NUMBERS = read("""
abs(int2) int2: abs({0})
abs(int4) int4: abs({0})
abs(int8) int8: abs({0})
abs(float8) float8: abs({0})
abs(numeric) numeric:@: abs({0})
sign(float8) float8: CAST(sign({0}) AS DOUBLE)
sign(numeric) numeric:0: CAST(sign({0}) AS DECIMAL(38,0))
ceil(float8) float8: ceil({0})
ceil(numeric) numeric:0: CAST(ceil({0}) AS DECIMAL(38,0))
ceiling(float8) float8: ceil({0})
ceiling(numeric) numeric:0: CAST(ceil({0}) AS DECIMAL(38,0))
floor(float8) float8: floor({0})
floor(numeric) numeric:0: CAST(floor({0}) AS DECIMAL(38,0))
round(float8) float8: round_even({0}, 0)
round(numeric) numeric:0: CAST(round({0}) AS DECIMAL(38,0))
trunc(float8) float8: trunc({0})
trunc(numeric) numeric:0: CAST(trunc({0}) AS DECIMAL(38,0))
sqrt(float8) float8: pg_sqrt({0})
cbrt(float8) float8: (CASE WHEN round(cbrt({0})) ** 3 = {0} THEN round(cbrt({0})) ELSE cbrt({0}) END)
exp(float8) float8: pg_float_in_range(exp({0}))
ln(float8) float8: pg_ln({0})
log(float8) float8: pg_log10({0})
log10(float8) float8: pg_log10({0})
power(float8, float8) float8: pg_float_in_range(pg_power({0}, {1}))
pow(float8, float8) float8: pg_float_in_range(pg_power({0}, {1}))
mod(int2, int2) int2: ({0} % {1})
mod(int4, int4) int4: ({0} % {1})
mod(int8, int8) int8: ({0} % {1})
mod(numeric, numeric) numeric:@: ({0} % {1})
div(numeric, numeric) numeric:0: CAST(trunc(pg_float_quotient({0}, {1})) AS DECIMAL(38,0))
gcd(int4, int4) int4: gcd({0}, {1})
gcd(int8, int8) int8: CAST(gcd({0}, {1}) AS BIGINT)
lcm(int4, int4) int4: CAST(lcm({0}, {1}) AS INTEGER)
lcm(int8, int8) int8: CAST(lcm({0}, {1}) AS BIGINT)
factorial(int8) numeric:0: CAST(factorial(CAST({0} AS INTEGER)) AS DECIMAL(38,0))
pi() float8: pi()
degrees(float8) float8: degrees({0})
radians(float8) float8: radians({0})
sin(float8) float8: sin({0})
cos(float8) float8: cos({0})
tan(float8) float8: tan({0})
cot(float8) float8: cot({0})
asin(float8) float8: asin({0})
acos(float8) float8: acos({0})
atan(float8) float8: atan({0})
atan2(float8, float8) float8: atan2({0}, {1})
sinh(float8) float8: sinh({0})
cosh(float8) float8: cosh({0})
tanh(float8) float8: tanh({0})
width_bucket(float8, float8, float8, int4) int4: pg_width_bucket({0}, {1}, {2}, {3})
width_bucket(numeric, numeric, numeric, int4) int4: pg_width_bucket(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE),
    CAST({2} AS DOUBLE), {3})
""")

VOLATILE = read("""
random() float8: random()
gen_random_uuid() uuid: CAST(gen_random_uuid() AS VARCHAR)
clock_timestamp() timestamptz: get_current_timestamp()
""")

ARRAYS = read("""
array_length(anyarray, int4) int4: CASE WHEN {1} = 1 AND len({0}) > 0 THEN CAST(len({0}) AS INTEGER) END
array_upper(anyarray, int4) int4: CASE WHEN {1} = 1 AND len({0}) > 0 THEN CAST(len({0}) AS INTEGER) END
array_lower(anyarray, int4) int4: CASE WHEN {1} = 1 AND len({0}) > 0 THEN 1 END
array_ndims(anyarray) int4: CASE WHEN len({0}) > 0 THEN 1 END
cardinality(anyarray) int4: CAST(len({0}) AS INTEGER)
array_append(anyarray, anyelement) anyarray: list_append({0}, {1})
array_prepend(anyelement, anyarray) anyarray: list_prepend({0}, {1})
array_cat(anyarray, anyarray) anyarray: list_concat({0}, {1})
array_position(anyarray, anyelement) int4: CAST(list_position({0}, {1}) AS INTEGER)
array_remove(anyarray, anyelement) anyarray: list_filter({0}, lambda pg_item: pg_item IS DISTINCT FROM {1})
""")

JSONS = read("""
json_typeof(json) text: CASE lower(json_type({0})) WHEN 'varchar' THEN 'string' WHEN 'bigint' THEN 'number'
    WHEN 'ubigint' THEN 'number' WHEN 'double' THEN 'number' ELSE lower(json_type({0})) END
jsonb_typeof(jsonb) text: CASE lower(json_type({0})) WHEN 'varchar' THEN 'string' WHEN 'bigint' THEN 'number'
    WHEN 'ubigint' THEN 'number' WHEN 'double' THEN 'number' ELSE lower(json_type({0})) END
json_array_length(json) int4: CAST(json_array_length({0}) AS INTEGER)
jsonb_array_length(jsonb) int4: CAST(json_array_length({0}) AS INTEGER)
to_json(any) json: CAST(to_json({0}) AS VARCHAR)
to_jsonb(any) jsonb: CAST(to_json({0}) AS VARCHAR)
""")

SYSTEM = read("""
pg_table_is_visible(oid) bool: true
pg_is_in_recovery() bool: false
""")

TABLE = merge(TEXTS, NUMBERS, ARRAYS, JSONS, SYSTEM)
