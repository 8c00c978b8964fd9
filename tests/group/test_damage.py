"""A byte of a node's disk is another one: the node does not start, or stops, and is rebuilt from the others as another
node."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.group.nodes import Nodes
from tests.group.together import OPTIONS, Together
from tsdb.cluster.group.applying import AppliedStore
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP
from tsdb.errors import DataCorrupted, StartupError
from tsdb.model.schema import CreateDatabase
from tsdb.storage.engine import Engine
from tsdb.storage.keys import raft_key

FLIPS, NIGHTLY_FLIPS = 60, 600
# What RocksDB writes for people, and asks nothing of.
FOR_PEOPLE = ("LOG", "OPTIONS", "IDENTITY", "LOCK", ".lock")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    try:
        yield nodes
    finally:
        nodes.end()


def flip(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1
    path.write_bytes(octets)


@pytest.mark.nightly
def test_a_node_with_a_byte_flipped_in_its_log_is_refused_and_rebuilt_under_another_uuid(nodes: Nodes) -> None:
    nodes.begin()
    for number in range(20):
        nodes.sql(1, f"CREATE TABLE t{number} (time timestamptz, v float8)")
    until(lambda: len(nodes.tables(3)) == 20)
    nodes.kill(3)
    wal = max((nodes.data(3) / "rocks").glob("*.log"), key=lambda path: path.stat().st_size)
    size = wal.stat().st_size
    for at in (size // 10, size // 2):
        flip(wal, at)
        refused = nodes.command("start", "--data", str(nodes.data(3)), "--pg-port", "0", "--http-port", "0", at=3)
        assert refused.returncode == 1, (at, refused.stdout, refused.stderr)
        (line,) = refused.stderr.splitlines()
        assert "is damaged and was not opened, so that nothing in it is lost" in line
        assert "replace this node" in line
        flip(wal, at)
    # Nobody starts it with less than it had promised: it is set aside, and another takes its place.
    flip(wal, size // 2)
    nodes.done("cluster", "remove", "3", "--accept-loss", at=1)
    nodes.data(3).rename(nodes.folder / "damaged")
    nodes.start(3, join=2)
    assert len(nodes.tables(3)) == 20
    until(lambda: {number: role for number, role in nodes.roles(1).items() if role == "voter"}.keys() == {1, 2, 4})
    nodes.sql(3, "CREATE TABLE more (time timestamptz, v float8)")
    until(lambda: "more" in nodes.tables(1) and "more" in nodes.tables(2))


@pytest.mark.nightly
def test_a_process_whose_disk_was_wiped_is_refused_until_it_is_given_up_and_comes_back_as_another(nodes: Nodes) -> None:
    nodes.begin()
    nodes.sql(1, "CREATE TABLE kept (time timestamptz, v float8)")
    until(lambda: "kept" in nodes.tables(3))
    uuids = {each.node: each.uuid for each in nodes.report(1).nodes}
    nodes.kill(3)
    shutil.rmtree(nodes.data(3))
    start = ("start", "--data", str(nodes.data(3)), "--pg-port", "0", "--http-port", "0", "--join", nodes.address(1))
    refused = nodes.command(*start, at=3)
    assert refused.returncode == 1, (refused.stdout, refused.stderr)
    assert "n3 is a member already, node 3" in refused.stderr
    assert "tsdb cluster remove 3 --accept-loss" in refused.stderr
    nodes.done("cluster", "remove", "3", "--accept-loss", at=1)
    nodes.start(3, join=2)
    until(lambda: {node for node, role in nodes.roles(1).items() if role == "voter"} == {1, 2, 4})
    assert {each.node: each.uuid for each in nodes.report(1).nodes}[4] not in uuids.values()
    assert "kept" in nodes.tables(3)
    nodes.sql(3, "CREATE TABLE more (time timestamptz, v float8)")
    for place in (1, 2):
        until(lambda: "more" in nodes.tables(place))  # noqa: B023


def remembered(path: Path) -> tuple[object, ...]:
    """What a node has promised and been told: hard state, log, configuration, metadata. Raises what opening does."""
    engine = Engine.open(path, OPTIONS)
    try:
        store = AppliedStore(engine, lambda _: None, lambda _: None)
        entries = store.entries(store.first_index(), store.last_index() + 1, 1 << 62)
        catalog = sorted(engine.catalog.databases)
        return (*store.initial(), store.applied, entries, store.metadata.snapshot(), catalog)
    finally:
        engine.close()


def flip_one_after_the_other(together: Together, count: int) -> Counter[str]:
    """What became of a node when one byte of its files was another, by kind of file."""
    chance = random.Random(3)
    for number in range(6):
        together.nodes[1].change(CreateDatabase(f"in_a_file_{number}"))
    until(lambda: len(together.nodes[3].catalog.databases) == 8)
    together.nodes[3].flush()
    for number in range(6):
        together.nodes[1].change(CreateDatabase(f"in_the_log_{number}"))
    until(lambda: len(together.nodes[3].catalog.databases) == 14)
    # As a process that was killed leaves it.
    left, tried = together.folder / "left", together.folder / "tried"
    together.nodes[3].engine.call(lambda: shutil.copytree(together.data(3), left))
    whole = remembered(shutil.copytree(left, tried))
    files = [path.relative_to(left) for path in sorted(left.rglob("*")) if path.is_file() and path.stat().st_size]
    files = [path for path in files if not path.name.startswith(FOR_PEOPLE)]
    found: Counter[str] = Counter()
    for number in range(count):
        file = files[number % len(files)]
        shutil.rmtree(tried)
        shutil.copytree(left, tried)
        at = chance.randrange((left / file).stat().st_size)
        flip(tried / file, at)
        kind = file.suffix or file.name.partition("-")[0]
        try:
            now = remembered(tried)
        except (StartupError, DataCorrupted):
            found[f"{kind} refused"] += 1
        else:
            assert now == whole, f"byte {at} of {file} is another one: the node has forgotten something"
            found[f"{kind} harmless"] += 1
    return found


def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(together: Together) -> None:
    found = flip_one_after_the_other(together, FLIPS)
    assert found[".sst refused"] > 5, found
    assert found[".log refused"] > 2, found


@pytest.mark.nightly
def test_many_more_flipped_bytes(together: Together) -> None:
    print(f"\n{dict(sorted(flip_one_after_the_other(together, NIGHTLY_FLIPS).items()))}")


def test_a_leader_whose_log_is_damaged_while_it_runs_stops_and_is_not_started_again(together: Together) -> None:
    leader = together.report(1).leader
    behind, other = (place for place in (1, 2, 3) if place != leader)
    together.stop(behind)
    together.nodes[leader].change(CreateDatabase("before"))
    engine = together.nodes[leader].engine
    log = AppliedStore(engine, lambda _: None, lambda _: None).log
    batch = engine.records.batch()
    batch.put("raft", raft_key(METADATA_GROUP, 3, log.last_index), b"another value")
    engine.call(lambda: engine.records.write(batch, True))
    # It has to read what it sends to one that comes back.
    together.start(behind)
    until(lambda: together.left[leader])
    assert "DataCorrupted" in together.left[leader][0]
    together.nodes[other].change(CreateDatabase("after"))
    until(lambda: {"before", "after"} <= {*together.nodes[behind].catalog.databases})
    together.stop(leader)
    with pytest.raises(StartupError, match="is damaged and was not opened"):
        together.start(leader)
