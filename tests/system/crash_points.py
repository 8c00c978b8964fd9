"""Processes that write numbered batches and kill themselves with -9 at one point of a write's or a flush's way.

``python -m tests.system.crash_points DIRECTORY WAY WHEN TIMES``: for each point of POINTS a process sends batches 1 to
4 and flushes; from the third on it dies there. Then TIMES more, one after the other, send the same without dying. A
line of JSON for each process says how it ended, what was answered and what is there. They are forked, since what
takes longest is to import everything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tsdb.cluster.node import Node
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import parse
from tsdb.ingest.outcome import outcome_text
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.points import Points
from tsdb.model.schema import LINE_PROTOCOL_TIME, ColumnDefinition, CreateSeries, Role
from tsdb.model.store import TIME_NS, Producer, RangeDeletion, ScanRequest, TimeRange, Write
from tsdb.model.time import BUCKET_NS
from tsdb.storage.options import Options
from tsdb.types import INT8

ROWS = 6
BATCHES = 4
# Those on the way of a new field.
OF_SCHEMA = (
    "tsdb.cluster.raft_store:RaftStore.write",
    "tsdb.cluster.raft_store:RaftStore.apply",
    "tsdb.storage.shard:Shard.stage_catalog",
    "tsdb.storage.shard:Shard.publish_catalog",
)
# Functions on the way: what the process can die before and after.
POINTS = (
    "tsdb.storage.committer:Committer.submit",
    *OF_SCHEMA,
    "tsdb.storage.rocks:Rocks.write",
    "tsdb.storage.shard:Shard.write_durably",
    "tsdb.storage.producers:Producers.new_parts",
    "tsdb.storage.producers:Producers.commit",
    "tsdb.storage.shard:Shard.apply",
    "tsdb.storage.engine:commit",
    "tsdb.storage.shard:Shard.freeze",
    "tsdb.storage.flusher:write_blocks",
    "tsdb.storage.flusher:install",
    "tsdb.storage.state:put_producers",
    "tsdb.storage.log:OpLog.drop_flushed",
    "tsdb.storage.flusher:Flusher._reclaim",
)
# A transaction of rows changes no schema.
DEAD_ENDS = {("commit", point) for point in OF_SCHEMA}


def arm(point: str) -> None:
    """From now on the process dies before, or after, the function is called."""
    when, _, where = point.partition(" ")
    module, _, path = where.partition(":")
    owner: Any = import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    whole: Callable[..., Any] = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        result = None if when == "before" else whole(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def text_of(batch: int) -> bytes:
    """Points over several locations, a new field in the fourth batch, and a bad line."""
    more = ",d=4i" if batch == 4 else ""
    return (
        b"".join(f"events a={batch}i{more} {BUCKET_NS * row + batch}\n".encode() for row in range(ROWS))
        + b"events a= 1\n"
    )


def by_lines(node: Node, batch: int) -> str:
    request = WriteRequest("tsdb", producer=Producer("p", batch))
    done = submit(node, request, text_of(batch), time.time_ns(), Limits(), True)
    for future in done.futures:
        future.result(30)
    return outcome_text(done.outcome, partial=True)


def by_commit(node: Node, batch: int) -> str:
    """A transaction: rows written, and a time range deleted in which there are none."""
    series = node.catalog.find("tsdb").find("events")
    times = np.array([BUCKET_NS * row + batch for row in range(ROWS)], np.int64)
    fields = {series.by_name["a"].number: pa.array([batch] * ROWS, pa.int64())}
    points = Points(series, times, [b""], np.zeros(ROWS, np.int32), fields)
    gone = RangeDeletion(series, TimeRange(-BUCKET_NS, 0))
    return str(node.commit([Write(points), gone], Producer("p", batch)).result(30).points)


def rows(node: Node) -> dict[int, int]:
    """How many rows of each batch there are."""
    view = node.view()
    series = view.catalog.find("tsdb").find("events")
    number = series.by_name["a"].number
    found: dict[int, int] = {}
    for piece in view.scan(ScanRequest(series, (TIME_NS, number))).batches:
        for value in piece.column(1).to_pylist():
            found[value] = found.get(value, 0) + 1
    view.close()
    return found


def send_all(directory: Path, way: str, point: str) -> dict[str, Any]:
    """What one process does; it dies at ``point`` ("": nowhere)."""
    node = Node.open(directory, Options(disk_reserve=0, compaction=False))
    columns = (LINE_PROTOCOL_TIME, ColumnDefinition("a", Role.FIELD, INT8))
    node.change(CreateSeries("tsdb", "events", columns, keyed=False, if_not_exists=True))
    write = {"lines": by_lines, "commit": by_commit}[way]
    answers = []
    for batch in range(1, BATCHES + 1):
        if batch == 3 and point:
            arm(point)
        answers.append(write(node, batch))
        if batch != 2:
            node.flush()
    found = {"answers": answers, "rows": rows(node)}
    node.close()
    return found


def forked(directory: Path, way: str, point: str) -> None:
    """Run ``send_all`` in a process of its own and print how it ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            print(json.dumps({"point": point, **send_all(directory, way, point)}), flush=True)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        print(json.dumps({"point": point, "status": os.waitstatus_to_exitcode(status)}), flush=True)


def main(directory: Path, way: str, when: str, times: int) -> None:
    parse(text_of(4), now_ns=0)
    for number, point in enumerate(POINTS):
        if (way, point) in DEAD_ENDS:
            continue
        forked(directory / str(number), way, f"{when} {point}")
        for _ in range(times):
            forked(directory / str(number), way, "")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
