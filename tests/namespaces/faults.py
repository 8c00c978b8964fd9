"""What befalls a cluster: to its network, its processes, its disks and its clocks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from tests.fixtures.waiting import until
from tests.namespaces.nodes import PLACES, Apart, Machines
from tsdb.storage.options import EXIT_STORAGE_FAILED

Ending = Callable[[], object]
Fault = Callable[[Machines, random.Random], Ending]
"""Begins, and gives what ends it."""
KIB = 1024


def others(place: int) -> list[int]:
    return [each for each in PLACES if each != place]


# The network


def full(nodes: Apart, chance: random.Random) -> Ending:
    nodes.network.isolate(nodes.shared_leader())
    return nodes.network.heal


def full_follower(nodes: Apart, chance: random.Random) -> Ending:
    nodes.network.isolate(chance.choice(others(nodes.shared_leader())))
    return nodes.network.heal


def one_way_from(nodes: Apart, chance: random.Random) -> Ending:
    """The leader hears the others, and they do not hear it."""
    leader = nodes.shared_leader()
    for other in others(leader):
        nodes.network.deafen(other, leader)
    return nodes.network.heal


def one_way_to(nodes: Apart, chance: random.Random) -> Ending:
    leader = nodes.shared_leader()
    for other in others(leader):
        nodes.network.deafen(leader, other)
    return nodes.network.heal


def partial(nodes: Apart, chance: random.Random) -> Ending:
    """Two cannot reach each other, and both reach the third."""
    leader = nodes.shared_leader()
    nodes.network.cut(leader, chance.choice(others(leader)))
    return nodes.network.heal


def partial_followers(nodes: Apart, chance: random.Random) -> Ending:
    nodes.network.cut(*others(nodes.shared_leader()))
    return nodes.network.heal


def loss(nodes: Apart, chance: random.Random) -> Ending:
    nodes.network.lose(0.2)
    return nodes.network.heal


def resets(nodes: Apart, chance: random.Random) -> Ending:
    nodes.network.reset(nodes.shared_leader())
    return nodes.network.heal


# Processes


def stopped(nodes: Apart, chance: random.Random) -> Ending:
    """It stands still, and goes on as if nothing had been."""
    leader = nodes.shared_leader()
    nodes.pause(leader)
    return lambda: nodes.resume(leader)


def killed(nodes: Apart, chance: random.Random) -> Ending:
    place = chance.choice(PLACES)
    nodes.kill(place)
    return lambda: nodes.start(place)


def rolling(nodes: Apart, chance: random.Random) -> Ending:
    """All are stopped and started, one after the other; each is waited for."""
    for place in PLACES:
        nodes.stop(place)
        nodes.start(place)
        goal = max(nodes.metric(each, "tsdb_replica_sequences_applied") for each in others(place))
        until(lambda: nodes.metric(place, "tsdb_replica_sequences_applied") >= goal)  # noqa: B023
    return lambda: None


# Disks


def either(nodes: Machines, chance: random.Random) -> int:
    """The leader, or one that follows."""
    leader = nodes.shared_leader()
    return chance.choice([leader, chance.choice(others(leader))])


def slow_fsync(nodes: Machines, chance: random.Random) -> Ending:
    return _slow(nodes, [either(nodes, chance)], chance.choice([100, 1000, 3000]))


def slow_fsync_of_all(nodes: Machines, chance: random.Random) -> Ending:
    return _slow(nodes, PLACES, chance.choice([100, 500]))


def _slow(nodes: Machines, places: Sequence[int], ms: int) -> Ending:
    for place in places:
        nodes.slow_fsync(place, ms)

    def end() -> None:
        for place in places:
            nodes.slow_fsync(place, 0)

    return end


def full_disk(nodes: Machines, chance: random.Random) -> Ending:
    """To the last byte: beyond what is kept free (``disk_reserve``), by somebody else."""
    return _filled(nodes, either(nodes, chance), 0)


def nearly_full_disk(nodes: Machines, chance: random.Random) -> Ending:
    """Less is free than what is kept free."""
    return _filled(nodes, nodes.shared_leader(), 700 * KIB)


def _filled(nodes: Machines, place: int, leave_bytes: int) -> Ending:
    nodes.disks[place].fill(leave_bytes)

    def end() -> None:
        nodes.disks[place].free()
        nodes.start_again(place)

    return end


def broken_disk(nodes: Machines, chance: random.Random) -> Ending:
    """Nothing can be written any more: the node ends by itself, and comes back with a disk that is well."""
    place = either(nodes, chance)
    nodes.disks[place].cut_power()

    def end() -> None:
        assert until(nodes.running[place].popen.poll) == EXIT_STORAGE_FAILED
        nodes.kill(place)
        nodes.disks[place].restore_power()
        nodes.start(place)

    return end


def power_cut(nodes: Machines, chance: random.Random) -> Ending:
    place = either(nodes, chance)
    nodes.cut_power([place])
    return lambda: nodes.start(place)


def power_cut_of_all(nodes: Machines, chance: random.Random) -> Ending:
    """Nobody has in memory what is not on a disk."""
    places = chance.sample(PLACES, len(PLACES))
    nodes.cut_power(places)
    return lambda: nodes.start_all(places)


# Clocks


def wrong_clock(nodes: Machines, chance: random.Random) -> Ending:
    place = either(nodes, chance)
    ahead_s = chance.choice([0.3, 20, -0.3, -20, -3600])
    since = time.monotonic()
    nodes.set_clock(place, ahead_s)

    def end() -> None:
        nodes.set_clock(place, 0)
        nodes.clock_was_wrong(since, max(ahead_s, 0))

    return end


NETWORK_AND_PROCESSES: list[Fault] = [
    full, full_follower, one_way_from, one_way_to, partial, partial_followers, loss, resets, stopped, killed, rolling,
]  # fmt: skip
MACHINES: list[Fault] = [
    slow_fsync, slow_fsync_of_all, full_disk, nearly_full_disk, broken_disk, power_cut, power_cut_of_all, wrong_clock,
]  # fmt: skip
