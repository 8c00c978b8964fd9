"""The state machine of simulations with metadata: registers and the real metadata over one log, told apart by bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import msgspec

from tests.sim.disk import Disk
from tests.sim.registers import Registers
from tsdb.cluster.metadata.commands import MAGIC, decode
from tsdb.cluster.metadata.durable import StoredMetadata
from tsdb.cluster.metadata.records import Answer, Group

WHOLE_EVERY = 3
"""The whole state is compared at each so many indexes."""

_PACK = msgspec.msgpack.Encoder()
_PARTS = msgspec.msgpack.Decoder(tuple[bytes, bytes])


class Kept(Registers):
    """Beside the registers: metadata, what commands were answered here, and the digests since they were looked at."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.metadata = StoredMetadata(disk)
        self.answers: dict[bytes, tuple[int, Answer]] = {}
        self.contradictions: list[tuple[bytes, Answer, Answer]] = []
        """Commands that came again and were answered otherwise, though their sessions were there."""
        self.digests: list[tuple[int, bytes]] = []
        self.states: list[tuple[int, int]] = []
        self.note_digest()

    @property
    def group(self) -> Group:
        return self.metadata.machine.state.group

    def note_digest(self) -> None:
        self.digests.append((self.group.applied, self.group.digest))
        if self.group.applied % WHOLE_EVERY == 0:
            self.states.append((self.group.applied, crc32(self.metadata.snapshot())))

    def stage(self, batch: Any, index: int, command: bytes) -> None:
        if command[:2] != MAGIC:
            super().stage(batch, index, command)
            return
        self.applied.append((index, command))
        self.metadata.stage(batch, index, command)
        for outcome in self.metadata.take():
            _, first = self.answers.setdefault(command, (index, outcome.answer))
            # By then the session may have ended, or the client may have acknowledged the answer.
            over = outcome.answer.error == "ObjectNotInPrerequisiteState"
            if outcome.answer != first and not over and decode(command).client:
                self.contradictions.append((command, first, outcome.answer))
        self.note_digest()

    def stage_install(self, batch: Any, index: int, body: bytes) -> None:
        registers, metadata = _PARTS.decode(body)
        super().stage_install(batch, index, registers)
        self.metadata.stage_install(batch, index, metadata)
        self.note_digest()

    def frozen(self) -> Callable[[], bytes]:
        packed, metadata = self.packed(), self.metadata.frozen()
        return lambda: _PACK.encode((packed, metadata()))

    def fingerprint(self) -> bytes:
        return self.packed() + self.group.digest
