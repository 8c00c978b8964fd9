"""Raft's storage on the node's store: what ``Ready`` says becomes batches, and the core reads from what is durable.

``carry_out`` is steps 2 and 4 of a ``Ready``; the driver sends in between. The state machine is handed its commands
with the batch that their effects go into, which also says that they are applied: after a crash a command is applied
again exactly if its effects are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from tsdb.cluster.raft.entries import NO_STATE, Configuration, Entry, HardState, Snapshot
from tsdb.cluster.raft.node import Node
from tsdb.storage.raft_log import RaftLog, Records

# All first members of a group begin with this state, so that whoever joins later needs a snapshot and so learns of
# the configuration.
FIRST_INDEX, FIRST_TERM = 1, 1


class StateMachine(Protocol):
    """What a group keeps. A function of its commands in order: no clock, no chance."""

    def stage(self, batch: Any, index: int, command: bytes) -> None:
        """Apply a command, its durable effect into ``batch``."""
        ...

    def stage_install(self, batch: Any, index: int, body: bytes) -> None:
        """Become what a snapshot says, durably by ``batch``."""
        ...

    def frozen(self) -> Callable[[], bytes]:
        """The state now: what is returned gives it whole, later and in any thread, whatever is applied meanwhile."""
        ...


class _Payload(msgspec.Struct, frozen=True, array_like=True):
    """What an entry holds in the log beside its term; it is never elided there."""

    kind: int
    body: bytes
    origin: int
    number: int
    checksum: int


_PACK = msgspec.msgpack.Encoder()
_PAYLOAD = msgspec.msgpack.Decoder(_Payload)
_CONFIGURATION = msgspec.msgpack.Decoder(Configuration)


class RaftStore:
    """The durable side of one group on one node: log and state machine. A ``LogStorage`` for the core."""

    def __init__(self, records: Records, group: int, machine: StateMachine) -> None:
        self._records = records
        self.log = RaftLog(records, group)
        self._machine = machine
        note = self.log.applied_note
        self._configuration = _CONFIGURATION.decode(note) if note else Configuration()

    @property
    def applied(self) -> int:
        return self.log.applied_index

    def bootstrap(self, configuration: Configuration) -> None:
        """Begin a new group with these members; each of them does."""
        self.log.bootstrap(FIRST_INDEX, FIRST_TERM, _PACK.encode(configuration))
        self._configuration = configuration

    def force(self, configuration: Configuration, left: Sequence[Entry]) -> None:
        """Put a configuration in place of the group's, and entries in place of those that are not applied. Synced.

        Only where an operator has given up the others: no majority was asked.
        """
        if left:
            self.log.write(None, [(e.index, e.term, self._payload(e)) for e in left], sync=True)
        batch = self._records.batch()
        note = _PACK.encode(configuration)
        self.log.stage_applied(batch, self.log.applied_index, note)
        self._records.write(batch, sync=True)
        self.log.did_apply(self.log.applied_index, note)
        self._configuration = configuration

    # For the core

    def initial(self) -> tuple[HardState, Configuration]:
        if self.log.state is None:
            return NO_STATE, self._configuration
        term, vote, commit = self.log.state
        return HardState(term, vote, max(commit, self.log.applied_index)), self._configuration

    def first_index(self) -> int:
        return self.log.first_index

    def last_index(self) -> int:
        return self.log.last_index

    def term(self, index: int) -> int | None:
        return self.log.term(index)

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        found: list[Entry] = []
        for at, payload in enumerate(self.log.entries(low, high, bytes_max)):
            term = self.log.term(low + at)
            assert term is not None
            p = _PAYLOAD.decode(payload)
            found.append(msgspec.convert((term, low + at, p.kind, p.body, p.origin, p.number, p.checksum), Entry))
        return found

    def snapshot(self) -> Snapshot | None:
        """Where the state machine is. Without the state: who sends it takes it by ``begin_snapshot``."""
        term = self.log.term(self.log.applied_index)
        assert term is not None, "the state machine is not in the log"
        return Snapshot(self.log.applied_index, term, self._configuration)

    def begin_snapshot(self, name: str, now: int, expires: int) -> tuple[Snapshot, Callable[[], bytes]]:
        """The state now, to be sent, and what gives its body; entries after it stay (``RaftLog.begin_snapshot``)."""
        index, term = self.log.begin_snapshot(name, now, expires)
        return Snapshot(index, term, self._configuration), self._machine.frozen()

    def renew_snapshot(self, name: str, expires: int) -> bool:
        """Its sending goes on; False if the pin has expired."""
        return self.log.renew_snapshot(name, expires)

    def end_snapshot(self, name: str, ok: bool) -> bool:
        """The sending ended, well or not; False if it was not well or the pin had expired."""
        return self.log.end_snapshot(name, ok)

    # For the driver

    def write(self, state: HardState | None, entries: tuple[Entry, ...], snapshot: Snapshot | None, sync: bool) -> None:
        """Hard state, entries and snapshot of a Ready, in one batch. Raises FatalStorageError."""
        hard = (state.term, state.vote, state.commit) if state else None
        if snapshot is not None:
            batch = self._records.batch()
            note = _PACK.encode(snapshot.configuration)
            self._machine.stage_install(batch, snapshot.index, snapshot.body)
            self.log.stage_install(batch, hard, snapshot.index, snapshot.term, note)
            self._records.write(batch, sync=True)
            self._show()
            self.log.did_install(hard, snapshot.index, snapshot.term, note)
            self._configuration = snapshot.configuration
            hard = None
        if hard or entries:
            self.log.write(hard, [(e.index, e.term, self._payload(e)) for e in entries], sync)

    def _payload(self, entry: Entry) -> bytes:
        assert not entry.elided, f"entry {entry.index} without its body"
        return _PACK.encode(_Payload(entry.kind, entry.body, entry.origin, entry.number, entry.checksum))

    def apply(self, node: Node, entries: tuple[Entry, ...]) -> None:
        """Apply committed entries; their effects and the applied index are in one batch. Raises FatalStorageError.

        Not synced: the log has what is lost, since a later synced batch brings this one to the disk before it.
        """
        # The core hands out nothing twice in one life; the index says what an earlier life has done.
        entries = tuple(entry for entry in entries if entry.index > self.log.applied_index)
        if not entries:
            return
        batch = self._records.batch()
        through = self.log.applied_index
        for entry in entries:
            if entry.kind:
                configuration = node.apply_change(entry)
                if configuration is None:
                    break
                self._configuration = configuration
            elif entry.body:
                self._machine.stage(batch, entry.index, entry.body)
            through = entry.index
        note = _PACK.encode(self._configuration)
        self.log.stage_applied(batch, through, note)
        self._records.write(batch, sync=False)
        self._show()
        self.log.did_apply(through, note)

    def _show(self) -> None:
        """What the state machine became is written. Whoever sees by ``applied`` that it is may look: show it first."""
