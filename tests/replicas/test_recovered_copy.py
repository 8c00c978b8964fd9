"""Disaster recovery as docs/operating.md says it: a copy of one stopped node's directory is all that is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.server import Process
from tests.fixtures.waiting import until
from tests.group.nodes import Nodes


def count(port: int) -> int:
    with psycopg.connect(f"postgresql://tsdb@127.0.0.1:{port}/kept", autocommit=True) as connection:
        ((found,),) = connection.execute("SELECT count(*) FROM m").fetchall()
    return int(found)


@pytest.mark.nightly
def test_a_copied_directory_begins_a_cluster_anew(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    try:
        nodes.begin()
        nodes.done("cluster", "replication", "3", at=1)
        with nodes.running[1].connect() as connection:
            connection.execute("CREATE DATABASE kept")
        lines = "\n".join(f"m,host=a v={second} {second}000000000" for second in range(1_000))
        assert nodes.running[1].write(lines, "db=kept") == (204, "")
        until(lambda: count(nodes.running[3].pg_port) == 1_000)
        nodes.stop(3)
        shutil.copytree(nodes.data(3), tmp_path / "copy")
        nodes.kill(1)
        nodes.kill(2)

        nodes.done("cluster", "force-recover", "--accept-loss", "--data", str(tmp_path / "copy"))
        nodes.running[3] = Process(tmp_path / "copy", **nodes.variables(3))
        until(lambda: count(nodes.running[3].pg_port) == 1_000)
        assert nodes.running[3].write("m,host=b v=1 1\n", "db=kept") == (204, "")
        fourth = nodes.start(4, join=3)
        until(lambda: count(fourth.pg_port) == 1_001)
    finally:
        for process in nodes.running.values():
            process.kill()
