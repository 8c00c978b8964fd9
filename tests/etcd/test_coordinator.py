"""Who decides: one at a time, nobody without a lease, another one soon after the first is gone."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.fixtures.etcd import QUICK, Etcd
from tests.fixtures.waiting import until
from tsdb.cluster.etcd.coordinator import Coordination
from tsdb.cluster.etcd.gateway import Gateway, Unreachable
from tsdb.cluster.etcd.log import CommandLog
from tsdb.cluster.etcd.messages import DeleteRange, Done

_prefixes = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"coordinator{next(_prefixes)}"


@pytest.fixture
def gateway(shared_etcd: Etcd) -> Iterator[Gateway]:
    with contextlib.closing(shared_etcd.gateway()) as found:
        yield found


def coordination(
    gateway: Gateway, prefix: str, node: int, lease_s: int = 60, clock: Callable[[], float] = time.monotonic
) -> Coordination:
    return Coordination(gateway, CommandLog(gateway, prefix), node, lease_s, clock)


def stepped(one: Coordination) -> bool:
    """Whether etcd answered in time."""
    with contextlib.suppress(Unreachable):
        one.step()
        return True
    return False


def test_the_first_decides_and_the_others_know(gateway: Gateway, prefix: str) -> None:
    first, second = (coordination(gateway, prefix, node) for node in (1, 2))
    assert first.leader == 0
    for each in (first, second, first, second):
        each.step()
    assert first.office is not None
    assert second.office is None
    assert (first.leader, second.leader) == (1, 1)
    assert CommandLog(gateway, prefix).look().office == first.office


def test_who_leaves_is_followed_at_once(gateway: Gateway, prefix: str) -> None:
    first, second = (coordination(gateway, prefix, node) for node in (1, 2))
    first.step()
    second.step()
    first.leave()
    assert first.office is None
    second.step()
    assert second.leader == 2


def test_nobody_decides_on_a_lease_that_may_have_ended(gateway: Gateway, prefix: str) -> None:
    now = [100.0]
    first = coordination(gateway, prefix, 1, lease_s=60, clock=lambda: now[0])
    first.step()
    now[0] += 53
    assert first.office is not None
    now[0] += 2
    # By etcd it runs on; a clock may go wrong by a tenth.
    assert first.office is None
    first.step()
    assert first.office is not None


def test_a_key_that_was_taken_away_is_an_office_that_is_over(gateway: Gateway, prefix: str) -> None:
    first = coordination(gateway, prefix, 1)
    first.step()
    before = first.office
    assert before is not None
    command_log = CommandLog(gateway, prefix)
    older = command_log.look()
    gateway.call("kv/deleterange", DeleteRange(command_log.keys.coordinator), Done)
    first.seen(command_log.look())
    assert first.office is None
    assert first.leader == 0
    first.step()
    assert first.office is not None
    assert first.office.revision > before.revision
    # What was read before it began says nothing about it.
    first.seen(older)
    assert first.office is not None


def test_an_etcd_that_hangs_ends_the_office_here_before_it_ends_there(etcd: Etcd) -> None:
    pace = replace(QUICK, request_s=1.0)
    with contextlib.closing(etcd.gateway(pace=pace)) as ours, contextlib.closing(etcd.gateway(pace=pace)) as theirs:
        first, second = coordination(ours, "p", 1, lease_s=4), coordination(theirs, "p", 2, lease_s=4)
        until(lambda: stepped(first) and first.office)
        until(lambda: stepped(second))
        etcd.pause(0)
        with pytest.raises(Unreachable):
            first.step()
        until(lambda: first.office is None)
        etcd.resume(0)

        def taken_over() -> bool:
            stepped(second)
            assert first.office is None
            return second.leader == 2

        until(taken_over)
        # As long as the second one's lease lasts, which a busy machine may not renew in time.
        until(lambda: stepped(second) and stepped(first) and first.leader == 2)


def test_of_many_that_want_it_one_has_it_and_when_it_dies_another(shared_etcd: Etcd, prefix: str) -> None:
    """Those that die do so without a word: their lease has to end."""
    gateways = [shared_etcd.gateway() for _ in range(4)]
    nodes = {node: coordination(gateways[node - 1], prefix, node, lease_s=2) for node in (1, 2, 3, 4)}
    threads = {node: threading.Thread(target=each.run, args=[lambda: None]) for node, each in nodes.items()}
    for thread in threads.values():
        thread.start()
    seen: list[int] = []
    try:
        for _ in range(3):
            (one,) = until(lambda: [node for node, each in nodes.items() if each.office is not None])
            seen.append(one)
            # Its network is gone.
            gateways[one - 1].close()
            nodes.pop(one).stop()
            threads.pop(one).join()
    finally:
        for node, each in nodes.items():
            each.stop()
            threads[node].join()
        for gateway in gateways:
            gateway.close()
    assert len(set(seen)) == 3
