"""The state machine of simulations: registers by name. A client's commands are numbered, and each counts once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.sim.disk import Disk

FAMILY = "state"


class Write(msgspec.Struct, frozen=True, array_like=True):
    """Client ``client``'s command ``number``: put ``value`` into a register."""

    client: int
    number: int
    register: int
    value: int


_PACK = msgspec.msgpack.Encoder()
_WRITE = msgspec.msgpack.Decoder(Write)
_STATE = msgspec.msgpack.Decoder(tuple[dict[int, int], dict[int, int]])


def command(write: Write) -> bytes:
    return _PACK.encode(write)


class Registers:
    """Values, and the number of each client's last command, durable in the batches that it is given."""

    def __init__(self, disk: Disk) -> None:
        self.values: dict[int, int] = {}
        self.done: dict[int, int] = {}
        self.applied: list[tuple[int, bytes]] = []
        stored = disk.get(FAMILY, b"registers")
        if stored is not None:
            self.values, self.done = _STATE.decode(stored)

    def stage(self, batch: Any, index: int, command: bytes) -> None:
        write = _WRITE.decode(command)
        self.applied.append((index, command))
        # A proposal that was doubled on its way is there twice, and an old one may come after a later one.
        if write.number > self.done.get(write.client, 0):
            self.done[write.client] = write.number
            self.values[write.register] = write.value
        batch.put(FAMILY, b"registers", self.packed())

    def stage_install(self, batch: Any, index: int, body: bytes) -> None:
        self.values, self.done = _STATE.decode(body)
        batch.put(FAMILY, b"registers", body)

    def frozen(self) -> Callable[[], bytes]:
        packed = self.packed()
        return lambda: packed

    def fingerprint(self) -> bytes:
        """Equal on members that are equal."""
        return self.packed()

    def packed(self) -> bytes:
        return _PACK.encode((dict(sorted(self.values.items())), dict(sorted(self.done.items()))))
