"""The disk of a node is full: the node ends and says why, the others go on, and it comes back with nothing lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.group.nodes import Nodes
from tsdb.cluster.group.control import Done, Transfer
from tsdb.storage.options import EXIT_STORAGE_FAILED

MIB = 1 << 20
SIZE = 64 * MIB
TABLES_MAX = 400

pytestmark = pytest.mark.nightly


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Three, of which the second has a small disk of its own. Only root mounts one."""
    nodes = Nodes(tmp_path)
    small = nodes.data(2)
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts a small file system")
    try:
        nodes.begin()
        yield nodes
    finally:
        nodes.end()
        subprocess.run(["umount", "--lazy", str(small)], check=False)


def fill(path: Path) -> None:
    """To the last byte."""
    with open(path, "wb", buffering=0) as file:
        for piece in (MIB, 4096, 1):
            try:
                while True:
                    file.write(bytes(piece))
            except OSError:
                continue


@pytest.mark.parametrize("leads", [True, False], ids=["the leader's", "a follower's"])
def test_a_node_whose_disk_is_full_ends_the_others_go_on_and_it_comes_back(nodes: Nodes, leads: bool) -> None:
    assert isinstance(nodes.ask(1, Transfer(2 if leads else 1)), Done)
    ballast = nodes.data(2) / "ballast"
    fill(ballast)
    process = nodes.running[2].popen
    made: set[str] = set()
    while process.poll() is None:
        assert len(made) < TABLES_MAX, "the disk is full, and nobody has noticed"
        name = f"t{len(made)}"
        nodes.sql(1, f"CREATE TABLE {name} (time timestamptz, {', '.join(f'v{at} float8' for at in range(30))})")
        made.add(name)
    assert process.returncode == EXIT_STORAGE_FAILED
    assert "No space left on device" in nodes.running[2].log.read_text()
    nodes.kill(2)
    nodes.sql(3, "CREATE TABLE without_it (time timestamptz, v float8)")
    until(lambda: nodes.tables(1) >= {*made, "without_it"})
    assert nodes.report(3).leader in (1, 3)
    ballast.unlink()
    nodes.start(2)
    assert nodes.tables(2) >= {*made, "without_it"}
    nodes.sql(2, "CREATE TABLE back (time timestamptz, v float8)")
    for place in (1, 3):
        until(lambda: "back" in nodes.tables(place))  # noqa: B023
    print(f"\nafter {len(made)} tables its disk was full: exit {EXIT_STORAGE_FAILED}")
