"""Computed functions: what PostgreSQL has and DuckDB lacks, in Python over Arrow columns.

A *computed function* is a pure function of values, registered by ``registry.computed`` under a name that begins with
``py_`` and with DuckDB's types of its arguments. DuckDB calls it with whole vectors; a vector's distinct arguments are
computed once each, so a template over a million rows of few values costs little. The tables of
``tsdb.sql.expressions.functions`` and ``tsdb.sql.macros`` name these functions; what is hot is said in DuckDB's own
functions instead.

Values cross as text, whole numbers, booleans, doubles, octets and lists of text: a timestamp is its microseconds, a
numeric or an interval its text. Errors are TsdbErrors; they reach the client with their SQLSTATE (``duckdb_errors``).

``datetime_template`` and ``number_template`` are to_char and its inverses, ``text_functions`` format() and names,
``json_text`` and ``json_functions`` JSON, ``json_path`` its path language, ``array_functions`` arrays and rows,
``octets`` bytea, ``numeric_text`` numeric's exact texts, ``patterns`` regular expressions. ``over_time`` has kernels
over groups of points, which DuckDB collects in lists (``registry.over_vectors``), ``zone_buckets`` buckets of local
time by ``zones``' tables, ``gaps`` the rows that time_bucket_gapfill adds,
``downsampling`` lttb.
"""

from tsdb.sql.computed import (
    array_functions,
    datetime_parsing,
    datetime_template,
    downsampling,
    gaps,
    json_functions,
    number_template,
    numeric_text,
    octets,
    over_time,
    text_functions,
    zone_buckets,
)

# Imported, since each registers its functions.
SUBJECTS = (
    array_functions, datetime_parsing, datetime_template, downsampling, gaps, json_functions, numeric_text,
    number_template, octets, over_time, text_functions, zone_buckets,
)  # fmt: skip
