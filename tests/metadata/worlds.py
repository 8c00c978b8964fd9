"""Every way to agree on commands, as a world of nodes in this process: by itself, as a group of three, over etcd."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cluster.transport.nodes import HOST, write_pair
from tests.etcd.nodes import nodes
from tests.fixtures.etcd import Etcd
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until
from tsdb.clock import ManualClock
from tsdb.cluster.alone import Alone
from tsdb.cluster.etcd.log import CommandLog
from tsdb.cluster.group.group import Group
from tsdb.cluster.group.joining import Place
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.records import Member
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options

SECOND = 10**9
START = 1_700_000_000 * SECOND
_prefixes = itertools.count()


@dataclass
class World:
    """Nodes that agree, and their clock. ``log``: the commands, where they are not the nodes' own."""

    clock: ManualClock
    agreements: Sequence[Agreement]
    engines: Sequence[Engine]
    log: CommandLog | None = None

    @property
    def one(self) -> Agreement:
        return self.agreements[0]

    @property
    def last(self) -> Agreement:
        return self.agreements[-1]

    def wait_until_same(self) -> None:
        """Nodes propose by themselves, too, so one may be ahead of another for a moment."""
        for each in self.agreements:
            each.wait_readable()
        until(lambda: len({each.state.group.digest for each in self.agreements}) == 1)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[World]:
    clock = ManualClock(START)
    options = Options(disk_reserve=0, clock=clock)
    engine = Engine.open(path, options)
    agreement = Alone(engine, options)
    try:
        yield World(clock, [agreement], [engine])
    finally:
        agreement.close()
        engine.close()


@contextlib.contextmanager
def over_etcd(etcd: Etcd, path: Path, count: int) -> Iterator[World]:
    clock = ManualClock(START)
    prefix = f"agree{next(_prefixes)}"
    with nodes(etcd, prefix, path, count, clock=clock) as found, contextlib.closing(etcd.gateway()) as gateway:
        log = CommandLog(gateway, prefix)
        yield World(clock, [each.agreement for each in found], [each.engine for each in found], log)
        assert [each.aborted for each in found] == [[]] * count


@contextlib.contextmanager
def group(path: Path, count: int) -> Iterator[World]:
    """The embedded group, over real connections."""
    aborted: list[str] = []
    clock = ManualClock(START)
    options = Options(disk_reserve=0, clock=clock, abort=aborted.append)
    ports = [free_port() for _ in range(count)]
    agreements: list[Agreement] = []
    engines: list[Engine] = []
    with contextlib.ExitStack() as stack:
        for at, port in enumerate(ports):
            name = f"n{at}"
            write_pair(path / "certs", name)
            engine = Engine.open(path / name, options)
            stack.callback(engine.close)
            if at == 0:
                Alone(engine, options).close()
            place = Place(
                host=HOST, port=port, address=f"{HOST}:{port}", join=f"{HOST}:{ports[0]}" if at else None,
                certificate=path / "certs" / f"{name}.crt", key=path / "certs" / f"{name}.key",
                authority=path / "certs" / "ca.crt", patience_s=30.0,
            )  # fmt: skip
            agreement = Group(engine, options, place)
            stack.callback(agreement.close)
            engines.append(engine)
            agreements.append(agreement)
            until(partial(_introduced, agreement, engine.node))
        yield World(clock, agreements, engines)
        assert aborted == []


def _introduced(agreement: Agreement, node: int) -> bool:
    """Whether it has said where it is: who joins is told of the others by that."""
    member = agreement.state.get(Member, node)
    return member is not None and bool(dict(member.addresses).get("cluster"))
