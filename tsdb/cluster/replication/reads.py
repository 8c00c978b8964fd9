"""What waits to be read at one replica (2.8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

NO_TIME = -(1 << 60)


@dataclass(frozen=True, slots=True)
class Round:
    """One question to all voters: is this leader still the one? It serves all reads that came before it was asked, as
    (id, the high watermark when the read came). ``began_ns`` is the leader's clock's time then."""

    number: int
    began_ns: int
    reads: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TokenRead:
    """A session's read that waits until the op of its token is applied."""

    id: int
    epoch: int
    sequence: int
    deadline: int


class Reads:
    """Linearizable reads by rounds, which rise; an answer to one counts for all before it."""

    def __init__(self) -> None:
        self.next: list[tuple[int, int]] = []
        self.rounds: deque[Round] = deque()
        self.number = 0
        self.answered: dict[int, int] = {}
        self.confirmed_ns = NO_TIME
        self.tokens: list[TokenRead] = []

    def __len__(self) -> int:
        return len(self.next) + sum(len(each.reads) for each in self.rounds) + len(self.tokens)

    @property
    def is_awaited(self) -> bool:
        """Whether reads wait for a round that is on its way."""
        return any(each.reads for each in self.rounds)

    def begin(self, now_ns: int) -> int:
        """The number of a new round, for all reads that have none."""
        self.number += 1
        self.rounds.append(Round(self.number, now_ns, tuple(self.next)))
        self.next = []
        return self.number

    def confirm(self, voters: Iterable[int], majority: int) -> list[tuple[int, int]]:
        """The reads whose rounds a majority has answered."""
        answered = sorted((self.answered.get(voter, 0) for voter in voters), reverse=True)
        done: list[tuple[int, int]] = []
        while self.rounds and self.rounds[0].number <= answered[majority - 1]:
            finished = self.rounds.popleft()
            self.confirmed_ns = max(self.confirmed_ns, finished.began_ns)
            done += finished.reads
        return done

    def give_up(self) -> list[int]:
        """This replica leads no more: the ids of reads that asked it as the leader."""
        ids = [id for each in self.rounds for id, _ in each.reads] + [id for id, _ in self.next]
        self.next, self.answered, self.confirmed_ns = [], {}, NO_TIME
        self.rounds.clear()
        return ids
