"""Nodes over an etcd: engines of their own with what they agree on, and ways to break them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.fixtures.etcd import QUICK, Etcd
from tsdb.clock import Clock, ManualClock
from tsdb.cluster.etcd.agreement import EtcdAgreement, Limits
from tsdb.cluster.etcd.gateway import Pace
from tsdb.cluster.etcd.joining import Place, agree
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options

# A busy machine does not lose a lease of 4 s at every turn.
LIMITS = Limits(within_s=20.0, lease_s=4, commands_max=1_000)


class OneNode:
    """One node's engine and agreement; ``aborted`` are the reasons for which its process would have ended."""

    def __init__(
        self, etcd: Etcd, prefix: str, path: Path, limits: Limits = LIMITS, pace: Pace = QUICK,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.aborted: list[str] = []
        self.left: list[str] = []
        self.path = path
        address = replace(etcd.address, prefix=prefix)
        tls = etcd.tls
        self.place = Place(
            address=address, pace=pace, limits=limits, authority=tls.authority_file if tls else None,
            certificate=tls.client[0] if tls else None, key=tls.client[1] if tls else None,
        )  # fmt: skip
        self.options = Options(
            disk_reserve=0, clock=clock or ManualClock(), abort=self.aborted.append, leave=self.left.append
        )
        self.open()

    def open(self) -> None:
        self.engine = Engine.open(self.path, self.options)
        try:
            self.agreement: EtcdAgreement = agree(self.engine, self.options, self.place)
        except BaseException:
            self.engine.close()
            raise

    def close(self) -> None:
        self.agreement.close()
        self.engine.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    @property
    def databases(self) -> set[str]:
        return set(self.agreement.state.catalog.databases)


@contextlib.contextmanager
def nodes(
    etcd: Etcd, prefix: str, path: Path, count: int, limits: Limits = LIMITS, pace: Pace = QUICK,
    clock: Clock | None = None,
) -> Iterator[list[OneNode]]:  # fmt: skip
    with contextlib.ExitStack() as stack:
        found = []
        for at in range(count):
            node = OneNode(etcd, prefix, path / f"node{at}", limits, pace, clock)
            stack.callback(node.close)
            found.append(node)
        yield found
