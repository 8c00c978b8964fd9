"""Kernels are compiled when they are first called, and loaded from their cache after that: do it before clients ask.

The way is the users' own: writes, a flush and queries on a scratch node in a directory of its own, and the encoding of
what they return. So whatever a request needs is ready, and a new kernel need not be added to a list here.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tsdb.cluster.node import Node
from tsdb.ingest.faults import Limits
from tsdb.ingest.stream import LineStream
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.time import NS_MAX, NS_MIN, NS_PER_SECOND
from tsdb.sql.context import Context
from tsdb.sql.copy import input as copy_input
from tsdb.sql.copy import statement as copy_statement
from tsdb.sql.ddl import statement as ddl
from tsdb.sql.query import Queries
from tsdb.sql.statement import Ddl, Fragment, Select, Utility, parse, split
from tsdb.storage.copies.digests import digests_of
from tsdb.storage.options import Options
from tsdb.types import SqlType
from tsdb.wire.copy_out import CopyEncoder, CopyFormat
from tsdb.wire.rows import RowEncoder

log = logging.getLogger("tsdb.server")

NOTE_AFTER_S = 2.0
_MIB = 1 << 20
# More than a page.
_BLOCK_ROWS = 2100
# So many tag sets that they are taken apart by kernels, and more values of a tag than rows of some results.
_MORE_HOSTS = 200
# What any answer needs, a client's first questions to the catalog too: these kernels come before those of points.
_VALUES = """
SELECT 1::int2, 2::int8, 2.5::float8, true, 'y'::text, 1::int4, 1.5::float4, 1.5::numeric,
    interval '1 month 2 days 03:04:05', ARRAY['a', NULL], ARRAY[1, 2],
    '2026-01-01'::date, '12:34:56'::time, '2026-01-01'::timestamp, 'x'::varchar, now(), NULL;
"""
_STATEMENTS = """
SELECT * FROM warm ORDER BY time;
SELECT time_bucket('5 minutes', time) AS at, host, max(f) AS f, sum(i) AS i, first(f, time) AS first
FROM warm WHERE time >= '2026-01-01' AND host = 'h1' GROUP BY at, host ORDER BY at;
SELECT time_bucket('5 minutes', time) AS at, host, count(*) AS c, count(i) AS ci, sum(i) AS i, avg(f) AS f,
    min(f) AS low, max(f) AS high, min(i) AS least, max(i) AS most FROM warm GROUP BY at, host ORDER BY at;
SELECT host, count(*) AS c, count(i) AS ci, sum(i) AS i, avg(i) AS ai, avg(f) AS f, min(f) AS low, max(f) AS high,
    min(i) AS least, max(i) AS most, stddev(i) AS si, stddev(f) AS sf, first(i, time) AS fi, last(f, time) AS lf
FROM warm GROUP BY host ORDER BY host;
SELECT DISTINCT ON (host) * FROM warm ORDER BY host, time DESC;
SELECT time_bucket('1 minute', time) AS at, max(i) AS i, max(f) AS f FROM warm WHERE time < '2026-01-01 00:03:10Z'
GROUP BY at ORDER BY at DESC LIMIT 5;
SELECT time_bucket('1 hour', time) AS at, max(i) AS i, max(f) AS f FROM warm WHERE host IN ('h0', 'h1', 'h2', 'h3')
AND time >= '2025-12-31 23:50:00Z' AND time < '2026-01-01 01:04:00Z' GROUP BY at ORDER BY at;
SELECT time, host, i, f, u, s FROM warm WHERE time >= '2026-01-01 00:20:00Z' AND time < '2026-01-01 00:25:00Z'
AND host <> 'h9' ORDER BY time, host;
SELECT time, host, i, f FROM warm WHERE i > 90.0 AND time < '2026-01-01 00:06:00Z' AND host = 'h0';
SELECT time, host, i, f FROM warm WHERE f > 90.5 AND f < 900 AND time < '2026-01-01 00:06:00Z';
"""


class _Host(NamedTuple):
    """How many points it has, how far apart; its integers are below ``most``. So there are numbers of each width."""

    points: int
    step_ns: int
    jitter_ns: int
    most: int


_HOSTS = (
    _Host(_BLOCK_ROWS, 3 * NS_PER_SECOND, 0, 100),
    _Host(_BLOCK_ROWS, 3 * NS_PER_SECOND, 1_000_000, 10_000),
    _Host(_BLOCK_ROWS, 3 * NS_PER_SECOND, 1, 10**6),
    _Host(180, 36 * NS_PER_SECOND, 0, 10**17),
)
_COPIED = (
    "CREATE TABLE copied (time timestamptz, a text, b text, f float8, i int8, x bool, d date, PRIMARY KEY (a, b, time))"
)


def warm(queries: Queries, scratch: Path, stopping: Callable[[], bool]) -> float | None:
    """Make the kernels ready; returns the seconds it took, None when it was told to stop between two steps. Blocks.

    ``queries`` is the server's own; ``scratch`` is emptied before and gone after (not when the process ends meanwhile).
    """
    started = time.monotonic()
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        with closing(_rehearse(scratch, queries)) as steps:
            for _ in steps:
                if stopping():
                    return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    seconds = time.monotonic() - started
    log.log(
        logging.INFO if seconds > NOTE_AFTER_S else logging.DEBUG,
        "the kernels are ready",
        extra={"fields": {"in_s": round(seconds, 1)}},
    )
    return seconds


def _rehearse(folder: Path, queries: Queries) -> Generator[None]:
    """The steps; each yields when it is done."""
    options = Options(head_bytes=_MIB, disk_reserve=0, encode_threads=1, rows_per_block=_BLOCK_ROWS)
    node = Node.open(folder, options)
    try:
        yield from _query(node, queries, _VALUES)
        _write(node, 0)
        yield
        node.flush()
        yield
        # From summaries and pages, and from hot columns what is read again; then from points between others, replayed.
        for _ in range(2):
            yield from _query(node, queries, _STATEMENTS)
        _write(node, 7)
        yield
        _compare(node)
        yield
        node.close()
        node = Node.open(folder, options)
        yield
        yield from _query(node, queries, _STATEMENTS)
        yield from _copy(node)
    finally:
        node.close()


def _write(node: Node, shift_s: int) -> None:
    """Lines with every kind of value, out of order the second time, so that flush and merge have work."""
    request = WriteRequest("tsdb", "ns")
    start = (1_767_225_600 - shift_s) * NS_PER_SECOND
    many = [f"warm,host=x{n} f=1 {start}" for n in range(_MORE_HOSTS)]
    lines = (
        f'warm,host=h{at} f={n % 1000}.5,i={n * 7919 % host.most}i,u={n}u,b=true,s="text {n % 50}" '
        f"{start + n * host.step_ns + n * 37 % 500 * host.jitter_ns}"
        for at, host in enumerate(_HOSTS)
        for n in range(host.points if shift_s == 0 else 100)
    )
    body = "\n".join([*many, *lines]).encode()
    # Most bodies have the same fields in every line, and numbers alone. The last one's point is there already.
    alike = "\n".join(f"alike,host=h{n % 9} f={n}.5,i={n}i {start + n * NS_PER_SECOND}" for n in range(1000)).encode()
    for each in (body, alike, f"alike,host=h0 f=1 {start}".encode()):
        for future in submit(node, request, each, time.time_ns(), Limits(), True).futures:
            future.result()
    stream = LineStream(len(body) + 1)
    stream.feed(body)
    stream.take()


def _compare(node: Node) -> None:
    """As replicas do."""
    view = node.own_view()
    try:
        digests_of(view, node.catalog.find("tsdb"), (NS_MIN, NS_MAX), lambda: None)
    finally:
        view.close()


def _query(node: Node, queries: Queries, text: str) -> Iterator[None]:
    context = Context("tsdb", now_us=time.time_ns() // 1000)
    view = node.view()
    try:
        for fragment in split(text):
            statement = parse(fragment)
            assert isinstance(statement, Select)
            prepared = queries.prepare(statement, context, view.catalog)
            rows = queries.run(prepared, view, [], context)
            try:
                _encode([column.type for column in rows.columns], rows)
            finally:
                rows.close()
            yield
    finally:
        view.close()


def _copy(node: Node) -> Iterator[None]:
    """COPY of every type of column to each format, and back."""
    table = parse(Fragment(_COPIED))
    assert isinstance(table, Ddl)
    node.change(*ddl.plan(table, Context("tsdb"), node.catalog).changes)
    context = Context("tsdb", now_us=time.time_ns() // 1000)
    for form in ("text", "csv", "binary"):
        statement = parse(Fragment(f"COPY copied FROM STDIN (FORMAT {form})"))
        assert isinstance(statement, Utility)
        prepared = copy_input.prepare(copy_statement.read(statement, "tsdb"), context, node.catalog)
        options = prepared.copy.options
        columns = [(column.name, column.type) for column in prepared.targets]
        encoder = CopyEncoder(columns, CopyFormat(options.format, options.delimiter, options.null))
        values = [[1_767_225_600_000_000], ["a"], ["b"], [1.5], [7], [True], [20_454]]
        arrays = [pa.array(each, kind.arrow) for each, (_, kind) in zip(values, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, [name for name, _ in columns])
        messages = b"".join(encoder.encode_chunks(batch))
        copying = prepared.start(context, lambda _type, octets: octets.decode(), lambda _rows: {})
        for points in [*copying.feed(messages[5:]), *copying.finish()]:
            node.write(node.catalog.find("tsdb"), [points]).result()
        yield


def _encode(types: list[SqlType], batches: Iterator[pa.RecordBatch]) -> None:
    text, binary = (RowEncoder([(type_, code) for type_ in types]) for code in (0, 1))
    for batch in batches:
        text.encode(batch)
        binary.encode(batch)
