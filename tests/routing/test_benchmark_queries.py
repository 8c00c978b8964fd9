"""The benchmark's queries at any of three nodes, over its points spread over them, have the answers that are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from benchmarks import answers, sql, truth
from benchmarks.queries import TYPES, QueryType, draw
from benchmarks.render import render
from benchmarks.workload import SERIES, Workload, generate
from tests.routing.spread import three
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit

HOSTS, HOURS, BATCH = 120, 3.0, 10_000
DRAWN = 3


@dataclass(frozen=True)
class Loaded:
    workload: Workload
    at: list[psycopg.Connection]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Batches by all nodes in turn; two thirds of the points in blocks, the rest in heads."""
    folder: Path = tmp_path_factory.mktemp("benchmark")
    workload = generate(HOSTS, HOURS, 7)
    batches = render(workload, folder, BATCH).line_protocol
    with three(folder) as (cluster, ports):
        nodes = [cluster.nodes[place] for place in (1, 2, 3)]
        for at in range(len(batches)):
            submitted = submit(nodes[at % 3], WriteRequest("tsdb"), bytes(batches[at]), 1, Limits(), False)
            assert [future.result(60).points for future in submitted.futures] == [submitted.outcome.written]
            if at == len(batches) * 2 // 3:
                for node in nodes:
                    node.flush()
        connections = [ports.connect(node) for node in nodes]
        yield Loaded(workload, connections)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("query_type", TYPES, ids=lambda query_type: query_type.name)
def test_a_query_of_the_benchmark_has_its_answer_at_any_node(loaded: Loaded, query_type: QueryType) -> None:
    for at, query in enumerate(draw(query_type, loaded.workload)[:DRAWN]):
        cursor = loaded.at[at % 3].execute(sql.with_literals(query, sql.TSDB).encode())
        assert cursor.description is not None
        found = answers.from_rows([column.name for column in cursor.description], cursor.fetchall(), query)
        expected = truth.answer(query, loaded.workload)
        assert answers.difference(expected, found, ordered=query.is_ordered) is None, query


def test_of_points_that_are_averaged_by_the_hour_less_than_a_hundredth_travels(loaded: Loaded) -> None:
    averages = f"SELECT time_bucket('1 hour', time) AS hour, hostname, avg(usage_user) FROM {SERIES} GROUP BY 1, 2"
    lines = [line for (line,) in loaded.at[0].execute(f"EXPLAIN ANALYZE {averages}".encode()).fetchall()]
    shares = [re.search(r"From (node \d \(n\d\)): (\d+) rows, (\d+) bytes, [\d.]+ ms there", line) for line in lines]
    found = {share[1]: int(share[3]) for share in shares if share is not None}
    assert found.keys() == {"node 2 (n2)", "node 3 (n3)"}, lines
    # A time, a value, and the number of a tag set each.
    points_bytes = loaded.workload.points * 2 // 3 * 20
    assert sum(found.values()) < points_bytes / 100, (found, points_bytes)
