"""tsdb and its peers do the same work on the same machine, and their answers are compared.

    python -m benchmarks --small                      to try it out
    python -m benchmarks --markdown                   the full size; writes RESULTS.md
    python -m benchmarks --systems tsdb,postgres --queries double-groupby-1,lastpoint --workers 1,2,4 --clients 4

The work is the cpu-only workload of the Time Series Benchmark Suite: by default 1,000 hosts × 12 hours, a point each
ten seconds, ten tags, ten integer fields; 4.32 million points.

1. `workload` draws the points from a seed, `render` writes them once as line protocol, CSV and Parquet to `out/`, so
   that no measurement contains the generator.
2. `queries` draws the parameters of the fifteen query types; `sql`, `influxql` and `promql` write their texts.
3. `systems` has an adapter for each system, which starts it on free loopback ports with its data in a temporary
   directory. A system that is not installed is told so and left out; nothing needs to run before.
4. `measure` loads, waits until the system has settled, reads its space on disk and its memory from /proc, asks, fetches
   a million rows, and on request asks by several clients at once.
5. `truth` computes every answer from the generated points with numpy alone; `answers` compares. One wrong value makes
   the run fail (exit code 1), loudly. What a peer cannot say is told as not comparable, with the reason.
6. `report` prints tables and writes Markdown; all numbers, each run's too, are in the JSON.

How time is taken. The client is this Python process and shares the machine with the server. A query's time goes from
sending its text to having all of its rows: Python tuples from psycopg (text format; *simple* and *prepared* are both
tried, the faster one is reported and named), decoded JSON from InfluxDB and VictoriaMetrics, an Arrow table from
DuckDB. Making tuples of a large answer takes psycopg longer than some servers take to give it, so a table beside has
the time until libpq holds the whole result. A run's figure is the median over the type's variants; the report has the
median of the runs, with the least and the most. Parameters come anew in every variant, so no system can answer from a
cache of results; pages of the file system stay cached.

Longer history, reads during ingest, float values, many tag sets and the fetch of other types are tasks of their own:
`python -m benchmarks TASK`, see `tasks`. What is left out: clusters, and data larger than memory.
"""
