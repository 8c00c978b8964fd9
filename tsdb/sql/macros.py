"""DuckDB macros for what PostgreSQL does otherwise. Created once in the instance; only our own text names them.

An error with PostgreSQL's words is raised by ``error('SQLSTATE:text')``; ``duckdb_errors`` takes it apart.
A macro's parameters are replaced by text, so a parameter that stands twice is evaluated once only where DuckDB's common
subexpression elimination sees it; all arguments are free of side effects.
"""

MACROS = (
    """pg_float8_text(x) AS CASE
        WHEN isnan(x) THEN 'NaN'
        WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END
        WHEN abs(x) >= 1e15 AND abs(x) < 1e16 THEN replace(regexp_replace(regexp_replace(CAST(x AS VARCHAR),
            '\\.0$', ''), '^(-?\\d)(\\d*?)0*$', '\\1.\\2e+15'), '.e', 'e')
        ELSE regexp_replace(CAST(x AS VARCHAR), '\\.0$', '') END""",
    """pg_float4_text(x) AS CASE
        WHEN isnan(x) THEN 'NaN'
        WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END
        WHEN abs(x) >= 1e6 AND abs(x) < 1e16 THEN replace(regexp_replace(regexp_replace(CAST(x AS VARCHAR),
            '\\.0$', ''), '^(-?\\d)(\\d*?)0*$',
            '\\1.\\2e+' || printf('%02d', CAST(floor(log10(abs(x))) AS INTEGER))), '.e', 'e')
        ELSE regexp_replace(CAST(x AS VARCHAR), '\\.0$', '') END""",
    """pg_unit(n, one) AS CASE WHEN n <> 0 THEN CAST(n AS VARCHAR) || ' ' || one ||
        CASE WHEN n = 1 THEN '' ELSE 's' END END""",
    """pg_clock_text(us) AS CASE WHEN us < 0 THEN '-' ELSE '' END || printf('%02d', abs(us) // 3600000000) || ':' ||
        printf('%02d', abs(us) // 60000000 % 60) || ':' || printf('%02d', abs(us) // 1000000 % 60) ||
        CASE WHEN abs(us) % 1000000 = 0 THEN '' ELSE '.' || rtrim(printf('%06d', abs(us) % 1000000), '0') END""",
    """pg_interval_us(i) AS CAST(date_part('hour', i) * 3600000000 + date_part('minute', i) * 60000000
        + date_part('microsecond', i) AS BIGINT)""",
    """pg_interval_months(i) AS CAST(date_part('year', i) * 12 + date_part('month', i) AS BIGINT)""",
    """pg_interval_days(i) AS CAST(date_part('day', i) AS BIGINT)""",
    # Days and months of one sign, and a clock under a day (interval_justify_interval in timestamp.c).
    """pg_justified_parts(us, months) AS CASE
        WHEN months > 0 AND us < 0 THEN {'m': months - 1, 'us': us + 2592000000000}
        WHEN months < 0 AND us > 0 THEN {'m': months + 1, 'us': us - 2592000000000}
        ELSE {'m': months, 'us': us} END""",
    """pg_justified_sum(p) AS to_months(CAST(p.m + p.us // 2592000000000 AS INTEGER))
        + to_days(CAST(p.us % 2592000000000 // 86400000000 AS INTEGER)) + to_microseconds(p.us % 86400000000)""",
    """pg_justified(us, months) AS pg_justified_sum(pg_justified_parts(us, months))""",
    """pg_month_days(y, m) AS day(last_day(make_date(CAST(y AS BIGINT), CAST(m AS BIGINT), 1)))""",
    """pg_make_date(y, m, d) AS CASE WHEN y <> 0 AND m BETWEEN 1 AND 12
            AND d BETWEEN 1 AND pg_month_days(y, CASE WHEN m BETWEEN 1 AND 12 THEN m ELSE 1 END)
        THEN make_date(CAST(y AS BIGINT), CAST(m AS BIGINT), CAST(d AS BIGINT))
        WHEN y IS NOT NULL AND m IS NOT NULL AND d IS NOT NULL
        THEN error('22008:date field value out of range: ' || y || '-' || lpad(CAST(m AS VARCHAR), 2, '0') || '-'
            || lpad(CAST(d AS VARCHAR), 2, '0')) END""",
    """pg_make_time(h, m, s) AS CASE WHEN h NOT BETWEEN 0 AND 23 OR m NOT BETWEEN 0 AND 59 OR s < 0 OR s >= 60
        THEN error('22008:time field value out of range: ' || lpad(CAST(h AS VARCHAR), 2, '0') || ':'
            || lpad(CAST(m AS VARCHAR), 2, '0') || ':' || lpad(CAST(CAST(s AS BIGINT) AS VARCHAR), 2, '0'))
        ELSE make_time(CAST(h AS BIGINT), CAST(m AS BIGINT), s) END""",
    """pg_interval_of(months, days, us) AS to_months(CAST(months AS INTEGER)) + to_days(CAST(days AS INTEGER))
        + to_microseconds(CAST(us AS BIGINT))""",
    # An average spills what is left of months into days and of days into time (interval_div).
    """pg_interval_quotient(months, days, us, n) AS CASE WHEN n > 0 THEN pg_interval_of(months // n,
        days // n + (months % n) * 30 // n,
        round((us + ((days % n) + ((months % n) * 30) % n) * 86400000000) / n)) END""",
    """pg_interval_text(i) AS CASE WHEN i IS NULL THEN NULL ELSE coalesce(nullif(concat_ws(' ',
        pg_unit(date_part('year', i), 'year'), pg_unit(date_part('month', i), 'mon'),
        pg_unit(date_part('day', i), 'day'),
        CASE WHEN pg_interval_us(i) <> 0 THEN pg_clock_text(pg_interval_us(i)) END), ''), '00:00:00') END""",
    """pg_datetime_text(t) AS CASE WHEN ends_with(t, ' (BC)') THEN replace(t, ' (BC)', '') || ' BC' ELSE t END""",
    """pg_array_item(t) AS CASE WHEN t IS NULL THEN 'NULL' WHEN t = '' OR lower(t) = 'null'
        OR regexp_matches(t, '[ \\t\\n\\r\\v\\f{},"\\\\]')
        THEN '"' || replace(replace(t, '\\', '\\\\'), '"', '\\"') || '"' ELSE t END""",
    """pg_text_integer(t, name) AS CASE WHEN t IS NULL THEN NULL
        WHEN regexp_full_match(t, '\\s*[+-]?\\d{1,37}\\s*') THEN CAST(trim(t) AS HUGEINT)
        ELSE error('22P02:invalid input syntax for type ' || name || ': "' || t || '"') END""",
    """pg_text_number(t, name) AS CASE WHEN t IS NULL THEN NULL
        WHEN regexp_full_match(t, '(?i)\\s*[+-]?(?:(?:\\d+\\.?\\d*|\\.\\d+)(?:e[+-]?\\d+)?|inf(?:inity)?|nan)\\s*')
        THEN trim(t) ELSE error('22P02:invalid input syntax for type ' || name || ': "' || t || '"') END""",
    """pg_text_bool(t) AS CASE WHEN t IS NULL THEN NULL
        WHEN regexp_full_match(t, '(?i)\\s*(?:t|tr|tru|true|y|ye|yes|on|1)\\s*') THEN true
        WHEN regexp_full_match(t, '(?i)\\s*(?:f|fa|fal|fals|false|n|no|of|off|0)\\s*') THEN false
        ELSE error('22P02:invalid input syntax for type boolean: "' || t || '"') END""",
    """pg_finite(x, name) AS CASE WHEN isnan(x) OR isinf(x)
        THEN error('22003:' || name || ' out of range') ELSE x END""",
    """pg_round_timestamp(t, unit) AS make_timestamp(CAST(round(epoch_us(t) / unit) AS BIGINT) * unit)""",
    """pg_round_time(t, unit) AS CAST(make_timestamp(CAST(round(epoch_us(t) / unit) AS BIGINT) * unit) AS TIME)""",
    """pg_round_timestamptz(t, unit) AS make_timestamptz(CAST(round(epoch_us(t) / unit) AS BIGINT) * unit)""",
    # Quotient of two whole numbers, rounded half away from zero.
    """pg_rounded_quotient(a, b) AS CASE WHEN b = 0 THEN error('22012:division by zero')
        ELSE (CASE WHEN (a < 0) = (b < 0) THEN 1 ELSE -1 END) * ((2 * abs(a) + abs(b)) // (2 * abs(b))) END""",
    # Unlike error() this is not volatile to DuckDB, which refuses what is volatile in a window's ORDER BY. It must not
    # be a constant either, or it fails before it is asked for.
    """pg_fail(message, x) AS CAST(message || '~' || CAST(x AS VARCHAR) AS DOUBLE)""",
    """pg_float_quotient(a, b) AS CASE WHEN b = 0 THEN pg_fail('22012:division by zero', a)
        WHEN isinf(a / b) AND NOT isinf(a) THEN pg_fail('22003:value out of range: overflow', a)
        WHEN a / b = 0 AND a <> 0 AND NOT isinf(b)
        THEN pg_fail('22003:value out of range: underflow', a) ELSE a / b END""",
    # A sum that is infinite though neither operand is has overflowed.
    """pg_sum_in_range(a, b, s) AS CASE WHEN isinf(s) AND NOT isinf(a) AND NOT isinf(b)
        THEN pg_fail('22003:value out of range: overflow', a) ELSE s END""",
    """pg_product(a, b) AS CASE WHEN isinf(a * b) AND NOT isinf(a) AND NOT isinf(b)
        THEN pg_fail('22003:value out of range: overflow', a)
        WHEN a * b = 0 AND a <> 0 AND b <> 0 THEN pg_fail('22003:value out of range: underflow', a) ELSE a * b END""",
    """pg_clamped(x) AS CASE WHEN abs(x) > 1 THEN 0 ELSE x END""",
    """pg_unit_range(y, x) AS CASE WHEN abs(x) > 1 THEN error('22003:input is out of range') ELSE y END""",
    """pg_acosh(x) AS CASE WHEN x < 1 THEN error('22003:input is out of range') ELSE acosh(x) END""",
    """pg_atanh(x) AS CASE WHEN abs(x) > 1 THEN error('22003:input is out of range')
        WHEN abs(x) = 1 THEN x * 'infinity'::DOUBLE ELSE atanh(x) END""",
    # Whole degrees have exact results at the angles everybody knows.
    """pg_tidy(x) AS CASE WHEN abs(x - round(x, 0)) < 1e-12 THEN round(x, 0) ELSE x END""",
    """pg_tidy_half(x) AS CASE WHEN abs(x * 2 - round(x * 2, 0)) < 1e-14 THEN round(x * 2, 0) / 2 ELSE x END""",
    """pg_degrees_of(f, x) AS pg_tidy_half(CASE f WHEN 'sin' THEN sin(radians(x)) WHEN 'cos' THEN cos(radians(x))
        ELSE tan(radians(x)) END)""",
    """pg_factorial(n) AS CASE WHEN n < 0 THEN error('22003:factorial of a negative number is undefined')
        ELSE factorial(CAST(n AS INTEGER)) END""",
    """pg_aggregate_in_range(x, least, greatest) AS CASE WHEN isinf(x) AND NOT isinf(least) AND NOT isinf(greatest)
        THEN error('22003:value out of range: overflow') ELSE x END""",
    """pg_float_in_range(x) AS CASE WHEN isinf(x) THEN error('22003:value out of range: overflow') ELSE x END""",
    """pg_sqrt(x) AS CASE WHEN x < 0 THEN error('2201F:cannot take square root of a negative number')
        ELSE sqrt(x) END""",
    """pg_ln(x) AS CASE WHEN x = 0 THEN error('2201E:cannot take logarithm of zero')
        WHEN x < 0 THEN error('2201E:cannot take logarithm of a negative number') ELSE ln(x) END""",
    """pg_log10(x) AS CASE WHEN x = 0 THEN error('2201E:cannot take logarithm of zero')
        WHEN x < 0 THEN error('2201E:cannot take logarithm of a negative number') ELSE log10(x) END""",
    """pg_power(x, y) AS CASE WHEN x = 0 AND y < 0
        THEN error('2201F:zero raised to a negative power is undefined')
        WHEN x < 0 AND y <> floor(y)
        THEN error('2201F:a negative number raised to a non-integer power yields a complex result')
        ELSE pow(x, y) END""",
    """pg_substr(t, s) AS substring(t, greatest(s, 1))""",
    """pg_substring(t, s, n) AS CASE WHEN n < 0 THEN error('22011:negative substring length not allowed')
        ELSE substring(t, greatest(s, 1), greatest(0, least(s + n, 2147483647) - greatest(s, 1))) END""",
    """pg_split_part(t, d, n) AS CASE WHEN n = 0 THEN error('22023:field position must not be zero')
        WHEN t IS NULL OR d IS NULL OR n IS NULL THEN NULL
        WHEN d = '' THEN CASE WHEN abs(n) = 1 THEN t ELSE '' END ELSE coalesce(split_part(t, d, n), '') END""",
    # DuckDB does not count the strings of a vector of 2,048 rows against its memory limit: they must stay small.
    """pg_repeats(t, n) AS CASE WHEN length(t) * CAST(n AS BIGINT) > 1048576
        THEN error('54000:requested length too large') ELSE greatest(n, 0) END""",
    """pg_length(n) AS CASE WHEN n > 1048576 THEN error('54000:requested length too large') ELSE n END""",
    """pg_lpad(t, n, f) AS CASE WHEN n <= 0 THEN '' WHEN length(t) >= n OR f = '' THEN left(t, n)
        ELSE lpad(t, pg_length(n), f) END""",
    """pg_rpad(t, n, f) AS CASE WHEN n <= 0 THEN '' WHEN length(t) >= n OR f = '' THEN left(t, n)
        ELSE rpad(t, pg_length(n), f) END""",
    """pg_chr(n) AS CASE WHEN n <= 0 THEN error('54000:null character not permitted') ELSE chr(n) END""",
    """pg_initcap(t) AS array_to_string(list_transform(regexp_extract_all(t, '[\\pL\\pN]+|[^\\pL\\pN]+'),
        lambda w: upper(left(w, 1)) || lower(substring(w, 2))), '')""",
    """pg_quote_literal(t) AS CASE WHEN contains(t, '\\') THEN 'E' ELSE '' END || '''' ||
        replace(replace(t, '''', ''''''), '\\', '\\\\') || ''''""",
    """pg_regexp_match(t, p) AS CASE WHEN regexp_matches(t, p) THEN
        CASE WHEN regexp_matches(p, '(?:^|[^\\\\])\\((?:[^?]|$)')
        THEN [regexp_extract(t, p, 1)] ELSE [regexp_extract(t, p, 0)] END END""",
    """pg_upper(t) AS CASE WHEN contains(t, 'ß') THEN replace(upper(replace(t, 'ß', chr(57344))), chr(57344), 'ß')
        ELSE upper(t) END""",
    """pg_position_from(list, item, start) AS CASE WHEN list_position(list_slice(list, start, len(list)), item) > 0
        THEN CAST(list_position(list_slice(list, start, len(list)), item) + start - 1 AS INTEGER) END""",
    """pg_json_strings(list) AS list_transform(list, lambda pg_item: py_json_quote(pg_item))""",
    """pg_json_object(list, is_binary) AS py_json_object(
        list_transform(range(0, len(list), 2), lambda pg_place: list_extract(list, pg_place + 1)),
        pg_json_strings(list_transform(range(0, len(list), 2), lambda pg_place: list_extract(list, pg_place + 2))),
        is_binary)""",
    """pg_json_path(k) AS '$."' || replace(replace(k, '\\', '\\\\'), '"', '\\"') || '"' """,
    # What is no object, array or fraction is DuckDB's to read: fast, and the same text.
    """pg_json_member_text(x, k) AS CASE
        WHEN json_type(x, pg_json_path(k)) IN ('VARCHAR', 'BOOLEAN', 'BIGINT', 'UBIGINT')
        THEN json_extract_string(x, pg_json_path(k)) ELSE py_json_member(x, k, true) END""",
    """pg_json_string(t) AS CASE WHEN regexp_matches(t, '["\\\\\x00-\x1f]') THEN py_json_quote(t)
        ELSE '"' || t || '"' END""",
    """pg_floor_bucket(x, width, origin) AS x - ((x - origin) % width + width) % width""",
    """pg_floor_quotient(a, b) AS (a - (a % b + b) % b) // b""",
    # An infinite time is a bucket of its own.
    """pg_bucket(x, width, origin) AS CASE WHEN isfinite(x) OR width IS NULL OR origin IS NULL
        THEN make_timestamptz(pg_floor_bucket(epoch_us(x), width, origin)) ELSE x END""",
    """pg_bucket_timestamp(x, width, origin) AS CASE WHEN isfinite(x) OR width IS NULL OR origin IS NULL
        THEN make_timestamp(pg_floor_bucket(epoch_us(x), width, origin)) ELSE x END""",
    """pg_width_us(i) AS CASE WHEN date_part('year', i) <> 0 OR date_part('month', i) <> 0
        THEN error('0A000:timestamps cannot be binned into intervals containing months or years')
        WHEN date_part('day', i) * 86400000000 + pg_interval_us(i) <= 0
        THEN error('22008:stride must be greater than zero')
        ELSE CAST(date_part('day', i) * 86400000000 + pg_interval_us(i) AS BIGINT) END""",
    """pg_shift_us(i) AS CASE WHEN pg_interval_months(i) <> 0
        THEN error('0A000:an offset of months is not supported for buckets of a fixed width')
        ELSE CAST(pg_interval_days(i) * 86400000000 + pg_interval_us(i) AS BIGINT) END""",
    """pg_bucket_months(i) AS CASE WHEN pg_interval_months(i) <> 0 AND (pg_interval_days(i) <> 0
            OR pg_interval_us(i) <> 0) THEN error('22023:month intervals cannot have day or time component')
        WHEN pg_interval_months(i) < 0 THEN error('22023:period must be greater than 0')
        ELSE pg_interval_months(i) END""",
    """pg_bucket_us(i) AS CASE WHEN pg_interval_months(i) = 0 AND pg_shift_us(i) <= 0
        THEN error('22023:period must be greater than 0')
        ELSE CAST(pg_interval_days(i) * 86400000000 + pg_interval_us(i) AS BIGINT) END""",
    """pg_period(n) AS CASE WHEN n <= 0 THEN error('22023:period must be greater than 0') ELSE n END""",
    """pg_gap_bound(t, which) AS CASE WHEN t IS NULL
        THEN error('22023:invalid time_bucket_gapfill argument: ' || which || ' cannot be NULL') ELSE t END""",
    """pg_gap_series(t, u, step) AS CASE WHEN u <= t THEN []
        WHEN (CAST(u AS HUGEINT) - t) // step > 5000000
        THEN error('54000:time_bucket_gapfill would make more than 5000000 buckets')
        ELSE generate_series(CAST(t AS BIGINT), CAST(u AS BIGINT) - 1, CAST(step AS BIGINT)) END""",
    """pg_between(x, x0, y0, x1, y1) AS CASE WHEN y0 = y1 THEN y0
        ELSE (y0 * (x1 - x) + y1 * (x - x0)) / (x1 - x0) END""",
    """pg_whole_between(x, x0, y0, x1, y1) AS CASE WHEN y0 = y1 THEN y0 ELSE pg_rounded_quotient(
        CAST(y0 AS HUGEINT) * (x1 - x) + CAST(y1 AS HUGEINT) * (x - x0), nullif(CAST(x1 AS HUGEINT) - x0, 0)) END""",
    """pg_step(s) AS CASE WHEN s = 0 THEN error('22023:step size cannot equal zero') ELSE s END""",
    """pg_step_interval(s) AS CASE WHEN s = INTERVAL '0 days' THEN error('22023:step size cannot equal zero')
        ELSE s END""",
    """pg_to_timestamp(x) AS make_timestamptz(CAST(round(pg_finite(x, 'timestamp') * 1000000) AS BIGINT))""",
    """pg_width_bucket(x, lo, hi, n) AS CASE WHEN n <= 0 THEN error('2201G:count must be greater than zero')
        WHEN lo = hi THEN error('2201G:lower bound cannot equal upper bound')
        WHEN lo < hi THEN CASE WHEN x < lo THEN 0 WHEN x >= hi THEN n + 1
            ELSE CAST(floor((x - lo) / (hi - lo) * n) AS INTEGER) + 1 END
        ELSE CASE WHEN x > lo THEN 0 WHEN x <= hi THEN n + 1
            ELSE CAST(floor((lo - x) / (lo - hi) * n) AS INTEGER) + 1 END END""",
    # As width_bucket, with NaN above all numbers.
    """pg_histogram_place(x, lo, hi, n) AS CASE WHEN x IS NULL THEN NULL
        WHEN lo > hi THEN error('22023:lower bound cannot exceed upper bound')
        WHEN n > 10000 THEN error('22023:a histogram has at most 10000 buckets')
        WHEN isnan(x) THEN n + 1
        ELSE least(pg_width_bucket(x, lo, hi, n), CASE WHEN x < hi THEN n ELSE n + 1 END) END""",
    """pg_histogram(places, counts, n) AS CASE WHEN len(places) > 0 THEN list_transform(range(0, n + 2),
        lambda pg_place: CAST(coalesce(list_extract(counts, list_position(places, CAST(pg_place AS INTEGER))), 0)
            AS INTEGER)) END""",
    """pg_unit_seconds(unit) AS CASE rtrim(lower(unit), 's') WHEN 'second' THEN 1 WHEN 'minute' THEN 60
        WHEN 'hour' THEN 3600 WHEN 'day' THEN 86400 WHEN 'millisecond' THEN 0.001 WHEN 'microsecond' THEN 0.000001
        ELSE error('22023:unit "' || unit || '" not recognized') END""",
    """pg_difference(us) AS to_days(CAST(us // 86400000000 AS INTEGER)) + to_microseconds(us % 86400000000)""",
    # Months and days spill their fractions downwards (interval_mul in timestamp.c).
    """pg_times_parts(m, d, us, f) AS to_months(CAST(trunc(m * f) AS INTEGER))
        + to_days(CAST(trunc(d * f + (m * f - trunc(m * f)) * 30) AS INTEGER))
        + to_microseconds(CAST(round((d * f + (m * f - trunc(m * f)) * 30
            - trunc(d * f + (m * f - trunc(m * f)) * 30)) * 86400000000 + us * f) AS BIGINT))""",
    """pg_times(i, f) AS pg_times_parts(date_part('year', i) * 12 + date_part('month', i), date_part('day', i),
        pg_interval_us(i), f)""",
    # SIMILAR TO: % and _ as in LIKE, the rest of . ^ $ plain (9.7.2).
    """pg_similar(p) AS replace(replace(regexp_replace(p, '([.^$])', '\\\\\\1', 'g'), '%', '.*'), '_', '.')""",
    # A year is 365.25 days, a month 30 (interval_part in timestamp.c).
    """pg_interval_epoch_us(i) AS CAST(date_part('year', i) * 31557600000000 + date_part('month', i) * 2592000000000
        + date_part('day', i) * 86400000000 + pg_interval_us(i) AS BIGINT)""",
    """pg_month_of(t) AS year(t) * 12 + month(t) - 1""",
    """pg_month_bucket(t, n, origin) AS make_date(
        CAST((pg_month_of(origin) + ((pg_month_of(t) - pg_month_of(origin))
            - (((pg_month_of(t) - pg_month_of(origin)) % n + n) % n))) // 12 AS BIGINT),
        CAST((pg_month_of(origin) + ((pg_month_of(t) - pg_month_of(origin))
            - (((pg_month_of(t) - pg_month_of(origin)) % n + n) % n))) % 12 + 1 AS BIGINT), 1)""",
    """pg_raise(text) AS error(text)""",
)
