"""Functions of dates, times and intervals. PostgreSQL 15 manual, 9.9."""

from __future__ import annotations

from tsdb.sql.expressions.signature import merge, read

INTERVALS = read("""
justify_hours(interval) interval: (to_months(CAST(date_part('year', {0}) * 12 + date_part('month', {0}) AS INTEGER))
    + to_days(CAST(date_part('day', {0}) + pg_interval_us({0}) // 86400000000 AS INTEGER))
    + to_microseconds(pg_interval_us({0}) % 86400000000))
justify_days(interval) interval: (to_months(CAST(date_part('year', {0}) * 12 + date_part('month', {0})
    + date_part('day', {0}) // 30 AS INTEGER)) + to_days(CAST(date_part('day', {0}) % 30 AS INTEGER))
    + to_microseconds(pg_interval_us({0})))
make_interval(int4, int4, int4, int4, int4, int4, float8) interval: (to_years({0}) + to_months({1})
    + to_days({2} * 7 + {3}) + to_hours({4}) + to_minutes({5}) + to_microseconds(CAST(round({6} * 1000000) AS BIGINT)))
justify_interval(interval) interval: pg_justified(pg_interval_days({0}) * 86400000000 + pg_interval_us({0}),
    pg_interval_months({0}))
isfinite(interval) bool: ({0} IS NOT NULL OR NULL)
age(timestamptz, timestamptz) interval: age({0}, {1})
age(timestamp, timestamp) interval: age({0}, {1})
isfinite(timestamptz) bool: isfinite({0})
isfinite(timestamp) bool: isfinite({0})
isfinite(date) bool: isfinite({0})
""")

DATES = read("""
to_timestamp(float8) timestamptz: pg_to_timestamp({0})
make_date(int4, int4, int4) date: pg_make_date({0}, {1}, {2})
make_time(int4, int4, float8) time: pg_make_time({0}, {1}, {2})
make_timestamp(int4, int4, int4, int4, int4, float8) timestamp: (pg_make_date({0}, {1}, {2})
    + pg_make_time({3}, {4}, {5}))
make_timestamptz(int4, int4, int4, int4, int4, float8) timestamptz: make_timestamptz({0}, {1}, {2}, {3}, {4}, {5})
make_timestamptz(int4, int4, int4, int4, int4, float8, text) timestamptz:
    make_timestamptz({0}, {1}, {2}, {3}, {4}, {5}, {6})
date_trunc(text, timestamptz) timestamptz: date_trunc({0}, {1})
date_trunc(text, timestamp) timestamp: date_trunc({0}, {1})
date_trunc(text, interval) interval: date_trunc({0}, {1})
date_trunc(text, timestamptz, text) timestamptz: timezone({2}, date_trunc({0}, timezone({2}, {1})))
timezone(text, timestamptz) timestamp: timezone({0}, {1})
timezone(text, timestamp) timestamptz: timezone({0}, {1})
timezone(interval, timestamptz) timestamp: (timezone('UTC', {1}) + {0})
timezone(interval, timestamp) timestamptz: timezone('UTC', {1} - {0})
date_bin(interval, timestamptz, timestamptz) timestamptz:
    pg_bucket({1}, pg_width_us({0}), epoch_us({2}))
date_bin(interval, timestamp, timestamp) timestamp:
    pg_bucket_timestamp({1}, pg_width_us({0}), epoch_us({2}))
""")

TABLE = merge(INTERVALS, DATES)
