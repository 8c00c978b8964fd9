"""Three ``tsdb start`` in network namespaces, with faults between them, and clients that try again: what was
acknowledged by a majority is there, once, at every node, and no linearizable read has ever missed it.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.namespaces.history import Clients, History
from tests.namespaces.network import why_not
from tests.namespaces.nodes import PLACES, Apart
from tests.replicas.test_rebuilding import points_in

Fault = Callable[[Apart, random.Random], Callable[[], None]]
"""Begins, and gives what ends it."""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[Apart, History, Clients]]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    nodes = Apart(folder)
    history = History(sent={0: 0.0})
    clients: Clients | None = None
    try:
        nodes.begin()
        clients = Clients(history, lambda: sorted(nodes.running), nodes.post, nodes.select)
        yield nodes, history, clients
    finally:
        if clients is not None:
            clients.stop()
        nodes.end()


def others(place: int) -> list[int]:
    return [each for each in PLACES if each != place]


def full(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    nodes.network.isolate(nodes.shared_leader())
    return nodes.network.heal


def full_follower(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    nodes.network.isolate(chance.choice(others(nodes.shared_leader())))
    return nodes.network.heal


def one_way_from(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    """The leader hears the others, and they do not hear it."""
    leader = nodes.shared_leader()
    for other in others(leader):
        nodes.network.deafen(other, leader)
    return nodes.network.heal


def one_way_to(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    leader = nodes.shared_leader()
    for other in others(leader):
        nodes.network.deafen(leader, other)
    return nodes.network.heal


def partial(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    """Two cannot reach each other, and both reach the third."""
    leader = nodes.shared_leader()
    nodes.network.cut(leader, chance.choice(others(leader)))
    return nodes.network.heal


def partial_followers(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    nodes.network.cut(*others(nodes.shared_leader()))
    return nodes.network.heal


def loss(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    nodes.network.lose(0.2)
    return nodes.network.heal


def resets(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    nodes.network.reset(nodes.shared_leader())
    return nodes.network.heal


def stopped(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    """It stands still, and goes on as if nothing had been."""
    leader = nodes.shared_leader()
    nodes.pause(leader)
    return lambda: nodes.resume(leader)


def killed(nodes: Apart, chance: random.Random) -> Callable[[], None]:
    place = chance.choice(PLACES)
    nodes.kill(place)

    def end() -> None:
        nodes.start(place)

    return end


FAULTS: list[Fault] = [
    full, full_follower, one_way_from, one_way_to, partial, partial_followers, loss, resets, stopped, killed,
]  # fmt: skip


def goes_on(history: History) -> None:
    """Points that were sent after this are acknowledged, and read."""
    now, count = time.monotonic(), len(history.reads)
    until(lambda: any(history.sent[number] > now for number, _ in [*history.acknowledged.items()][-20:]))
    until(lambda: any(begun > now for begun, _, _ in history.reads[count:]))


def check_end(nodes: Apart, history: History, clients: Clients) -> None:
    clients.stop()
    history.check()
    until(lambda: len({nodes.metric(place, "tsdb_replica_sequences_applied") for place in PLACES}) == 1)
    for place in PLACES:
        rows = until(lambda: nodes.select(place, "SELECT v FROM n"))  # noqa: B023
        history.check_end([int(value) for (value,) in rows], f"node {place}")
    checked = nodes.command("cluster", "check", "shared", "--seconds", "40", at=1).stdout
    assert checked == "32 locations, 32 compared, 0 of them different\n"
    assert sum(nodes.metric(place, "tsdb_replica_differences_total") for place in PLACES) == 0
    for place in PLACES:
        nodes.stop(place)
    found = [points_in(nodes.data(place)) for place in PLACES]
    assert found[0] == found[1] == found[2]
    assert found[0][0] >= len(history.acknowledged)


@pytest.mark.nightly
def test_what_was_acknowledged_survives_a_partition_and_is_read(tmp_path: Path) -> None:
    with running(tmp_path) as (nodes, history, clients):
        chance = random.Random(1)
        goes_on(history)
        for fault in (full, resets):
            end = fault(nodes, chance)
            time.sleep(3)
            end()
            goes_on(history)
        check_end(nodes, history, clients)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2))
def test_what_was_acknowledged_survives_all_faults(tmp_path: Path, seed: int) -> None:
    with running(tmp_path) as (nodes, history, clients):
        chance = random.Random(seed)
        goes_on(history)
        pauses: list[tuple[str, float, float, int]] = []
        for fault in [*chance.sample(FAULTS, len(FAULTS)), *[killed] * 8]:
            begin, before = time.monotonic(), len(history.acknowledged)
            end = fault(nodes, chance)
            time.sleep(chance.uniform(2, 12))
            acknowledged = len(history.acknowledged) - before
            end()
            healed = time.monotonic()
            goes_on(history)
            pause = history.longest_pause(begin, healed)
            pauses.append((fault.__name__, round(pause, 1), round(time.monotonic() - healed, 1), acknowledged))
            history.check()
        for name, pause, again, acknowledged in pauses:
            print(f"{name}: longest without an acknowledgement {pause} s, {acknowledged} during it, going on {again} s")
        print(
            f"{len(history.acknowledged)} points acknowledged in {history.tries} tries, {len(history.reads)} reads, "
            f"{history.failed_reads} failed"
        )
        check_end(nodes, history, clients)
