"""Agreement over etcd: commands are appended to its log, and every node folds them, in order, into its own state.

Each node appends for itself; nobody has to be led for that. Three threads work here:

- whoever proposes: catches up, checks, appends behind exactly what it has seen, and applies its own command. If another
  node was faster it begins again, so a check always held of the state that the command was applied to.
- *following*: watches what there is now and catches up with each change. A watch that ends, is silent, or asks for a
  revision that is not kept any more costs a read. It also writes snapshots while this node decides.
- *coordination* (``coordinator``): who decides; and what a member does unasked (``upkeep``).

What etcd answered is believed only as far as it fits: a log with another id, one that has gone back, and a command that
was meant for another state stop this node, since others may go on with what it cannot follow.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tsdb.clock import Clock
from tsdb.cluster.etcd.coordinator import GOODBYE_S, Coordination
from tsdb.cluster.etcd.gateway import Compacted, Gateway
from tsdb.cluster.etcd.layout import Entry, Saved
from tsdb.cluster.etcd.log import CommandLog, Cut, Office, Present
from tsdb.cluster.etcd.replica import snapshot_of
from tsdb.cluster.etcd.upkeep import Upkeep
from tsdb.cluster.metadata.agreement import Standing, Told, unchecked
from tsdb.cluster.metadata.commands import Action, Command, Expected, encode
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.metadata.records import Answer, Member
from tsdb.cluster.metadata.state import State
from tsdb.cluster.transport.backoff import BackOff
from tsdb.errors import CannotConnectNow, DataCorrupted, TsdbError
from tsdb.prompt import may_wait
from tsdb.storage.engine import Engine

log = logging.getLogger(__name__)

R = TypeVar("R")

BATCH_BYTES, BATCH_ENTRIES = 4 << 20, 64
FIRST_WAIT_NS, LAST_WAIT_NS = 50_000_000, 5_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a proposal may take, how long a coordinator's lease lasts, after how much a snapshot is written."""

    within_s: float = 10.0
    lease_s: int = 5
    commands_max: int = 1_000
    bytes_max: int = 8 << 20


LIMITS = Limits()


class Copy(Protocol):
    """What was agreed on, folded: a node's own (``replica.Replica``), or one in memory (``operator``)."""

    @property
    def state(self) -> State: ...

    @property
    def applied(self) -> int: ...

    def watch(self, told: Told) -> None: ...

    def run(self, function: Callable[[], R]) -> R:
        """Where commands are applied, so that none is meanwhile."""
        ...

    def apply(self, entries: Sequence[tuple[Entry, bytes]]) -> list[Outcome]: ...

    def install(self, saved: Saved, body: bytes) -> None: ...


class NotDeciding(CannotConnectNow):
    """This node is not the coordinator (any more): nothing was done."""


class EtcdAgreement:
    """A ``metadata.agreement.Agreement``, of a node that follows the log ``log_id``. Once it is a member: ``start``."""

    def __init__(
        self,
        gateway: Gateway,
        command_log: CommandLog,
        log_id: bytes,
        replica: Copy,
        clock: Clock,
        abort: Callable[[str], None],
        limits: Limits = LIMITS,
    ) -> None:
        self._gateway = gateway
        self._replica = replica
        self._clock = clock
        self._abort = abort
        self._limits = limits
        self._log = command_log
        self._log_id = log_id
        self._lock = threading.Lock()
        self._node = 0
        self._coordination: Coordination | None = None
        self._upkeep: Upkeep | None = None
        self._threads: list[threading.Thread] = []
        self._unsaved_bytes = 0
        self._saved = 0

    def start(self, engine: Engine, node: int, leave: Callable[[str], None]) -> None:
        """Follow the log as a member, and be the coordinator if nobody is. ``leave`` ends the process of a node that
        was removed."""
        self._node = node
        self._upkeep = upkeep = Upkeep(self, engine, node, self._clock, leave)
        coordination = Coordination(self._gateway, self._log, node, self._limits.lease_s, time.monotonic)
        self._coordination = coordination
        self._threads = [
            threading.Thread(target=self._follow, name="etcd-follow", daemon=True),
            threading.Thread(target=coordination.run, args=[upkeep.look], name="etcd-lease", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    # For the node above

    @property
    def state(self) -> State:
        return self._replica.state

    @property
    def standing(self) -> Standing:
        """Nodes have no votes: members of etcd do."""
        leader = self._coordination.leader if self._coordination is not None else 0
        return Standing(self._node, leader, (), (), self._replica.applied)

    def propose(
        self, action: Action, expected: tuple[Expected, ...] = (), check: Callable[[], None] = unchecked
    ) -> Answer:
        return self._proposed(action, expected, check, lambda: None)

    def decide(self, action: Action, expected: tuple[Expected, ...] = ()) -> Answer:
        """As ``propose``, for the coordinator: it counts only if this node still is when the command is appended.

        Raises NotDeciding.
        """
        return self._proposed(action, expected, unchecked, self._office)

    @property
    def has_others(self) -> bool:
        return True

    @property
    def shared(self) -> None:
        """Points are replicated by the nodes of a group alone."""

    def wait_readable(self, seconds: float | None = None) -> None:
        may_wait()
        if self._log.look(seconds).head > self._replica.applied:
            with self._turn(seconds):
                self._catch_up()

    @property
    def obstacle(self) -> None:
        """Points are written and read without etcd, and nodes do not reach each other."""

    def watch(self, told: Told) -> None:
        self._replica.watch(told)

    def introduce(self, addresses: Mapping[str, str]) -> None:
        if self._upkeep is not None and self._coordination is not None:
            self._upkeep.introduce(addresses)
            self._coordination.wake()

    def gauges(self) -> Mapping[str, float]:
        standing = self.standing
        return {
            "cluster_nodes": sum(not each.gone for each in self.state.all(Member)),
            "cluster_has_leader": float(standing.leader != 0),
            "etcd_decides": float(standing.leads),
            "etcd_commands_applied": standing.applied,
            "etcd_failures": self._gateway.failures,
        }

    def hand_over(self, seconds: float) -> None:
        """Nobody has what this node has, and who coordinates leaves that when it closes."""

    def close(self) -> None:
        if self._coordination is not None:
            self._coordination.stop()
            # It leaves its office, if etcd answers.
            for thread in self._threads[1:]:
                thread.join(GOODBYE_S)
        self._gateway.close()
        for thread in self._threads:
            thread.join()
        self._threads = []

    # Appending

    def _proposed(
        self,
        action: Action,
        expected: tuple[Expected, ...],
        check: Callable[[], None],
        office_of: Callable[[], Office | None],
    ) -> Answer:
        may_wait()
        body = encode(Command(action, self._clock.now_ns(), expected))
        end = time.monotonic() + self._limits.within_s
        with self._turn():
            outcome = None
            while outcome is None:
                self._catch_up()
                self._replica.run(check)
                outcome = self._appended(body, office_of())
                if outcome is None and time.monotonic() >= end:
                    raise CannotConnectNow(
                        f"other nodes change the metadata all the time: nothing done in {self._limits.within_s:g} s",
                        hint="Try again.",
                    )
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    def _appended(self, body: bytes, office: Office | None) -> Outcome | None:
        """What became of a command that was appended to what this node has; None if there is more by now."""
        group = self.state.group
        entry = self._log.append(group.applied, group.digest, self._node, body, office)
        if entry is None:
            return None
        self._unsaved_bytes += len(body)
        (outcome,) = self._replica.apply([(entry, body)])
        return outcome

    def _office(self) -> Office:
        office = self._coordination.office if self._coordination is not None else None
        if office is None:
            raise NotDeciding("this node does not decide for the others: its lease has ended, or another node has it")
        return office

    @contextmanager
    def _turn(self, seconds: float | None = None) -> Iterator[None]:
        """One at a time applies. Raises CannotConnectNow."""
        if not self._lock.acquire(timeout=2 * self._limits.within_s if seconds is None else seconds):
            raise CannotConnectNow("other changes of the metadata wait for etcd: nothing was done", hint="Try again.")
        try:
            yield
        finally:
            self._lock.release()

    # Following; with the lock

    def _catch_up(self) -> Present:
        """Apply everything that was agreed on before this was called; what there was then."""
        present = self._log.look()
        while True:
            self._check(present)
            if self._coordination is not None:
                self._coordination.seen(present)
            self._saved = present.snapshot.number if present.snapshot is not None else 0
            try:
                for entries in self._batches(present):
                    self._replica.apply(entries)
                return present
            except Cut:
                present = self._log.look()
                self._check(present)
                if self._replica.applied < present.head:
                    self._install(present)

    def _check(self, present: Present) -> None:
        if present.log_id != self._log_id:
            raise DataCorrupted("the command log in etcd is another one than before: was etcd replaced by another?")
        if present.head < self._replica.applied:
            raise DataCorrupted(
                f"etcd has {present.head} commands, and this node has applied {self._replica.applied}: was etcd put "
                "back to an older state?"
            )

    def _batches(self, present: Present) -> Iterator[list[tuple[Entry, bytes]]]:
        entries: list[tuple[Entry, bytes]] = []
        size = 0
        for entry, body in self._log.after(self._replica.applied, present.head):
            entries.append((entry, body))
            size += len(body)
            self._unsaved_bytes += len(body)
            if size >= BATCH_BYTES or len(entries) >= BATCH_ENTRIES:
                yield entries
                entries, size = [], 0
        if entries:
            yield entries

    def _install(self, present: Present) -> None:
        """The state at the snapshot, if the next command is not kept any more."""
        try:
            saved, body = self._log.state(present)
        except Compacted:
            # A newer one has taken its place.
            return
        if saved.number <= self._replica.applied:
            raise DataCorrupted(f"command {self._replica.applied + 1} is missing in etcd")
        self._replica.install(saved, body)
        log.info("the metadata was taken over from a snapshot", extra={"fields": {"commands": saved.number}})

    # Following; in its thread

    def _follow(self) -> None:
        waits = BackOff(FIRST_WAIT_NS, LAST_WAIT_NS, lambda: 0.5)
        while not self._gateway.closed:
            try:
                self._follow_once(waits)
            except Compacted:
                # What was to be watched is not kept any more; what there is now is read again.
                log.info("etcd has compacted what was watched")
            except DataCorrupted as error:
                self._abort(f"this node cannot follow the metadata any more: {error.message}")
                return
            except TsdbError as error:
                if self._gateway.closed:
                    return
                log.warning("the metadata in etcd is not followed just now: %s", error)
                self._gateway.wait(waits.next_ns() / 1e9)

    def _follow_once(self, waits: BackOff) -> None:
        with self._lock:
            present = self._catch_up()
        waits.reset()
        for reply in self._log.watch(present.revision + 1):
            if reply.events:
                with self._lock:
                    self._catch_up()
            self._save()

    def _save(self) -> None:
        """Write a snapshot, and cut the log, if this node decides and there is enough for it."""
        state = self.state
        due = state.group.applied - self._saved >= self._limits.commands_max
        due = due or self._unsaved_bytes >= self._limits.bytes_max
        office = self._coordination.office if self._coordination is not None else None
        if not due or office is None or state.group.applied == self._saved:
            return
        self._unsaved_bytes = 0
        if self._log.save(state.group.applied, state.group.digest, snapshot_of(state), office):
            self._saved = state.group.applied
            log.info("a snapshot of the metadata is in etcd", extra={"fields": {"commands": self._saved}})
