"""Writes that wait for their answers: by how safe they want to be, and until when (2.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from tsdb.cluster.replication.clients import Answer, Unknown, Written


@dataclass(slots=True)
class Waiter:
    """A write whose last op is ``sequence``, and that wants to be as safe as ``acks`` says."""

    id: int
    sequence: int
    acks: int
    deadline: int
    duplicate: bool
    waits: bool = True


class Waiting:
    """Waiters of one leader, in one epoch."""

    def __init__(self) -> None:
        self._by_acks: dict[int, list[tuple[int, int, Waiter]]] = {}
        self._by_deadline: list[tuple[int, int, Waiter]] = []
        self._number = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_acks.values()))

    def add(self, waiter: Waiter) -> None:
        self._number += 1
        heappush(self._by_acks.setdefault(waiter.acks, []), (waiter.sequence, self._number, waiter))
        heappush(self._by_deadline, (waiter.deadline, self._number, waiter))

    def answered(self, safe: Callable[[int], int], epoch_at: Callable[[int], int]) -> list[Answer]:
        """Those that have what they want; ``safe`` gives the sequence up to which a kind of acks is satisfied."""
        answers: list[Answer] = []
        for acks, heap in self._by_acks.items():
            through = safe(acks)
            while heap and (heap[0][0] <= through or not heap[0][2].waits):
                waiter = heappop(heap)[2]
                if waiter.waits:
                    waiter.waits = False
                    answers.append(Written(waiter.id, epoch_at(waiter.sequence), waiter.sequence, acks,
                                           waiter.duplicate))  # fmt: skip
        return answers

    def expired(self, tick: int, committed: int, quorum: int, epoch_at: Callable[[int], int]) -> list[Answer]:
        """Those whose time is over: as safe as they came to be, if that is a quorum."""
        answers: list[Answer] = []
        while self._by_deadline and (self._by_deadline[0][0] <= tick or not self._by_deadline[0][2].waits):
            waiter = heappop(self._by_deadline)[2]
            if not waiter.waits:
                continue
            waiter.waits = False
            epoch = epoch_at(waiter.sequence)
            if waiter.sequence <= committed:
                answers.append(Written(waiter.id, epoch, waiter.sequence, quorum, waiter.duplicate))
            else:
                answers.append(Unknown(waiter.id, epoch, waiter.sequence))
        self._by_acks = {acks: left for acks, heap in self._by_acks.items() if (left := _waiting(heap))}
        return answers

    def give_up(self, epoch_at: Callable[[int], int]) -> list[Answer]:
        """All of them: this replica does not lead any more."""
        waiters = [entry[2] for heap in self._by_acks.values() for entry in heap if entry[2].waits]
        self._by_acks, self._by_deadline = {}, []
        return [Unknown(waiter.id, epoch_at(waiter.sequence), waiter.sequence) for waiter in waiters]


def _waiting(heap: list[tuple[int, int, Waiter]]) -> list[tuple[int, int, Waiter]]:
    """A heap stays one whose first entries wait: those further on go when they come first."""
    while heap and not heap[0][2].waits:
        heappop(heap)
    return heap
