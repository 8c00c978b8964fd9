"""Rows of one series as they lie, chosen by conditions on its columns: answered without DuckDB.

A general path of the executor, chosen by the rule ``select_from_the_scan`` for a statement that is a list of columns of
one series, with conditions on the time, tags and single numeric fields, LIMIT and OFFSET, and no order, groups or
expressions. What DuckDB would do with such rows is to carry them, tags as texts, from one format to another: most of
the time of a large result.

1. ``plan.ScanSelection``: which columns, which conditions.
2. ``matches``: what a comparison with a constant says of a number, exactly as PostgreSQL compares, and the kernels.
3. ``execution.SelectionExecution``: the running query (``tsdb.sql.result.Rows``).

Exact: conditions on time and tags are decided by the scan, those on fields by its bounds (which may let more pass) and
then here, row by row.
"""
