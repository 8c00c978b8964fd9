"""What the cpu-only run does not show, one task each: `python -m benchmarks TASK`, `--help` says its options.

- `fetch`: a million rows of four types sent to libpq, beside PostgreSQL: rows/s, the first row, the server's memory.
- `scale`: 10, 30, 100 million points: each query's time as history grows, scans of all of it, DELETE of half of
  the history and of some hosts, and the space that comes back.
- `mixed`: latencies of a query while the server ingests as fast as it can, beside its idle latencies.
- `values`: bytes a value on disk of floats, of two decimals and of full precision, beside the peers'.
- `ingest`: points a second over HTTP by shapes of load, with gzip, with new tag sets, one by one; and by COPY.
- `placement`: what a cluster's placement costs as nodes and locations grow: time, steps, bytes moved and of metadata.
- `tagsets`: a series of a million tag sets: ingest, bytes of memory a tag set, look-ups by tag.
- `raft`: three nodes: election, a change of the schema, its bytes, catching up by log and snapshot.
- `transport`: what nodes ask each other, over their frames and over Arrow Flight: small calls, rows, both at once.
- `cluster`: three nodes with a replicated database beside one node: ingest, queries, bytes, and what idle nodes cost.

Each prints its table, writes its numbers to `out/TASK.json`, and with `--markdown` replaces its section of RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.tasks import cluster, fetch, ingest, mixed, placement, raft, scale, tagsets, transport, values

TASKS: dict[str, Callable[[Sequence[str]], int]] = {
    "fetch": fetch.main,
    "scale": scale.main,
    "mixed": mixed.main,
    "values": values.main,
    "ingest": ingest.main,
    "placement": placement.main,
    "tagsets": tagsets.main,
    "raft": raft.main,
    "transport": transport.main,
    "cluster": cluster.main,
}
