"""Aggregates over one scan, answered by kernels of our own without DuckDB (design section 6).

A general path of the executor, chosen by the rule ``aggregate_the_scan`` for a statement that is one aggregate over one
series: count, sum, avg, min, max, first, last, stddev and variance of numeric fields, grouped by tags and by buckets of
time, with conditions on time and tags, HAVING that compares aggregates with numbers, any ORDER BY of output columns and
LIMIT. Everything else runs in DuckDB, and so does a statement whose groups are too many for a table in memory.

Words: a *cell* is one group; cells lie in a dense table, bucket by bucket, in each bucket one cell for each
*combination* of tag values seen so far.

1. ``plan.ScanAggregate``: what to compute, bound to columns of the scan.
2. ``kernels``: one pass over a column of a batch, adding its values to their cells.
3. ``cells.Cells``: the table; it grows as buckets and combinations come. A scan gives summary cells first, which say
   what their points would have (``tsdb.model.summaries``), then batches of all other points.
   What a cell holds are ``states``: numbers that points and summaries add to.
4. ``results``, ``averages`` and ``answer``: cells to result columns, ordered and cut.
5. ``execution.AggregateExecution``: the running query (``tsdb.sql.result.Rows``).

Exact like DuckDB's: integer sums in 128 bits, avg of integers to 16 digits after the point, NaN above all numbers.
"""
