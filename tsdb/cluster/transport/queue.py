"""What waits to be sent to one node over one connection: bounded in bytes, in order. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tsdb.cluster.transport.frames import Kind, Octets
from tsdb.cluster.transport.limits import MESSAGE_COST


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits."""

    kind: Kind
    payload: Octets

    @property
    def cost(self) -> int:
        return len(self.payload) + MESSAGE_COST


class SendQueue:
    """Messages in order; what is beyond ``bytes_max`` does not get in."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting: deque[Waiting] = deque()
        self.byte_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, message: Waiting) -> bool:
        return self.byte_count + message.cost <= self._bytes_max

    def put(self, message: Waiting) -> bool:
        """Whether there was room for it."""
        if not self.has_room(message):
            return False
        self._waiting.append(message)
        self.byte_count += message.cost
        return True

    @property
    def first(self) -> Waiting | None:
        return self._waiting[0] if self._waiting else None

    def take(self) -> Waiting:
        message = self._waiting.popleft()
        self.byte_count -= message.cost
        return message

    def clear(self) -> list[Waiting]:
        """Everything that waited."""
        messages = list(self._waiting)
        self._waiting.clear()
        self.byte_count = 0
        return messages
