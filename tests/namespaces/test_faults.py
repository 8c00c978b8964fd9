"""Three ``tsdb start`` in network namespaces, with disks and clocks of their own, faults of all kinds, and clients that
try again: what was acknowledged by a majority is there, once, at every node, and reads have what their levels promise.

SEEDS: of how many random runs of each kind (environment TSDB_SEEDS).
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.namespaces import disks, network
from tests.namespaces.clients import Clients
from tests.namespaces.faults import MACHINES, NETWORK_AND_PROCESSES, Fault, full, killed, others, resets
from tests.namespaces.history import ANY, LINEARIZABLE, History, Read
from tests.namespaces.nodes import SPARE, Machines
from tests.replicas.test_rebuilding import points_in

SEEDS = range(int(os.environ.get("TSDB_SEEDS", "2")))

pytestmark = pytest.mark.nightly


class Run:
    """Nodes, clients and what they were told."""

    def __init__(self, nodes: Machines) -> None:
        self.nodes = nodes
        self.history = History(sent={0: 0.0})
        self.clients = Clients(self.history, nodes)

    def goes_on(self) -> None:
        """Points that were sent after this are acknowledged, and read."""
        history = self.history
        now, count = time.monotonic(), len(history.reads)
        until(lambda: any(history.sent[number] > now for number in [*history.acknowledged.copy()][-20:]))
        until(lambda: any(each.begun > now and each.level == LINEARIZABLE for each in history.reads[count:]))

    def befall(self, faults: Sequence[Fault], chance: random.Random) -> None:
        history, said = self.history, []
        self.goes_on()
        for fault in faults:
            begin, before = time.monotonic(), len(history.acknowledged)
            end = fault(self.nodes, chance)
            time.sleep(chance.uniform(2, 12))
            acknowledged = len(history.acknowledged) - before
            end()
            healed = time.monotonic()
            self.goes_on()
            history.check(self.nodes.wrong_clocks)
            pause, again = history.longest_pause(begin, healed), time.monotonic() - healed
            said.append(
                f"{fault.__name__}: {healed - begin:.1f} s, longest without an acknowledgement {pause:.1f} s, "
                f"{acknowledged} during it, going on after {again:.1f} s"
            )
            print(said[-1], flush=True)

    def check_end(self) -> None:
        nodes, history = self.nodes, self.history
        self.clients.stop()
        history.check(nodes.wrong_clocks)
        reads = Counter(each.level for each in history.reads)
        print(
            f"{len(history.acknowledged)} of {len(history.sent)} points acknowledged in {history.tries} tries; "
            f"reads {dict(reads)}, {history.failed_reads} failed"
        )
        until(nodes.level)
        places = sorted(nodes.running)
        for place in places:
            history.check_end(nodes.numbers(place), f"node {place}")
        checked = nodes.command("cluster", "check", "shared", "--seconds", "40", at=places[0])
        assert checked.stdout == "32 locations, 32 compared, 0 of them different\n", checked
        assert sum(nodes.metric(place, "tsdb_replica_differences_total") for place in places) == 0
        for place in places:
            nodes.stop(place)
        nodes.start_all(places)
        for place in places:
            history.check_end(nodes.numbers(place), f"node {place} after its start")
        until(nodes.level)
        for place in places:
            # What is in blocks can be read by itself, what is in a replica's log cannot.
            nodes.sql(place, "CHECKPOINT")
            nodes.stop(place)
        found = [points_in(nodes.data(place)) for place in places]
        assert found.count(found[0]) == 3
        assert found[0][0] >= len(history.acknowledged)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    if (reason := network.why_not() or disks.why_not()) is not None:
        pytest.skip(reason)
    nodes = Machines(tmp_path)
    run: Run | None = None
    try:
        nodes.begin()
        run = Run(nodes)
        yield run
    finally:
        with contextlib.ExitStack() as stack:
            stack.callback(nodes.end)
            if run is not None:
                stack.callback(run.clients.stop)


def test_what_was_acknowledged_survives_a_partition_and_is_read(run: Run) -> None:
    run.befall([full, resets], random.Random(1))
    run.check_end()


def test_what_may_be_old_is_found_by_the_checker_where_it_must_not_be(run: Run) -> None:
    """Whoever is cut off answers ``any``, which is no linearizable read: the checker would see one."""
    nodes, history = run.nodes, run.history
    run.goes_on()
    alone = others(nodes.shared_leader())[0]
    nodes.network.isolate(alone)
    count = len(history.acknowledged)
    until(lambda: len(history.acknowledged) > count + 20)
    begun = time.monotonic()
    rows, _ = nodes.select(alone, "SELECT v FROM n", ANY)
    history.reads.append(Read(begun, time.monotonic(), frozenset(int(value) for (value,) in rows)))
    run.clients.stop()
    with pytest.raises(AssertionError, match=r"a linearizable read .* lacks"):
        history.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_survives_all_faults_of_the_network_and_of_processes(run: Run, seed: int) -> None:
    chance = random.Random(seed)
    run.befall([*chance.sample(NETWORK_AND_PROCESSES, len(NETWORK_AND_PROCESSES)), *[killed] * 8], chance)
    run.check_end()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_survives_all_faults_of_disks_and_clocks(run: Run, seed: int) -> None:
    if not run.nodes.libraries:
        pytest.skip("a C compiler is needed for slow disks and wrong clocks")
    chance = random.Random(seed)
    run.befall(chance.sample(MACHINES * 2, len(MACHINES) * 2), chance)
    run.check_end()


def test_three_nodes_become_four_and_three_again_under_load(run: Run) -> None:
    """The one that leads goes; then another one is killed."""
    nodes = run.nodes
    run.befall([full], random.Random(3))
    nodes.start(SPARE, join=1)
    until(lambda: SPARE in nodes.roles(1))
    run.goes_on()
    gone = nodes.shared_leader()
    stay = [*others(gone), SPARE]
    nodes.done("cluster", "drain", str(gone), at=SPARE)
    text = """SELECT DISTINCT voters::text, learners::text, epoch = active_epoch
              FROM tsdb.locations WHERE datname = 'shared'"""
    goal = [("{" + ",".join(map(str, stay)) + "}", "{}", True)]
    until(lambda: nodes.sql(SPARE, text) == goal)
    run.goes_on()
    until(lambda: nodes.command("cluster", "remove", str(gone), at=SPARE).returncode == 0)
    until(lambda: nodes.running[gone].popen.poll() is not None)
    nodes.kill(gone)
    run.goes_on()
    nodes.kill(stay[0])
    run.goes_on()
    nodes.start(stay[0])
    run.goes_on()
    run.check_end()
