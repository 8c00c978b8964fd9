"""Is a history of calls linearizable, for any object that a model describes?

The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what was tried
("Testing for Linearizability", 2017), as in the checker porcupine: take calls in some order that respects time, each
where the model allows its answer; where nothing fits go back; never look twice at the same set of calls that are done
with the same state. Objects that are independent of each other (the registers of a map) are judged one by one.

A call that nobody answered may take effect at any later time or not at all. Of two ways to the same state, with the
same answered calls done, one that used fewer of the others can do all that the other one can: only that is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

State: TypeAlias = Hashable
Step = Callable[[State, Any, Any], tuple[bool, State]]
"""(state, what was asked, the answer or None) → (whether the answer can be, the state after it)."""


@dataclass(frozen=True)
class Call:
    """``key``: of the object that it is for. Unanswered: ``answer`` is None and ``end`` infinite."""

    key: Hashable
    asked: Any
    begin: float
    answer: Any = None
    end: float = math.inf

    @property
    def answered(self) -> bool:
        return self.end < math.inf


@dataclass(frozen=True)
class Fault:
    """Why a history cannot be: of this object's calls at most ``explained`` can be put in order, and these are next."""

    key: Hashable
    explained: int
    calls: int
    stuck: tuple[Call, ...]

    def __str__(self) -> str:
        text = "; ".join(map(str, self.stuck[:4]))
        return f"{self.key}: {self.explained} of {self.calls} calls can be put in order, then none of: {text}"


def fault(history: Iterable[Call], step: Step, initial: State) -> Fault | None:
    """The first object whose calls no order explains."""
    by_key: dict[Hashable, list[Call]] = {}
    for call in history:
        assert call.begin < call.end, f"{call} ends before it begins"
        by_key.setdefault(call.key, []).append(call)
    for key, calls in by_key.items():
        explained, stuck = _search(calls, step, initial)
        if stuck is not None:
            return Fault(key, explained, len(calls), tuple(stuck))
    return None


class _Events:
    """Begins and ends in the order of time, as a list that calls are taken out of and put back into."""

    def __init__(self, calls: Sequence[Call]) -> None:
        # At the same time a begin comes before an end: then the two calls are beside each other.
        order = sorted(
            [(call.begin, 0, at) for at, call in enumerate(calls)]
            + [(call.end, 1, at) for at, call in enumerate(calls)]
        )
        count = len(order)
        self.call = [at for _, _, at in order] + [-1]
        self.is_begin = [kind == 0 for _, kind, _ in order] + [False]
        self.end_of = [0] * len(calls)
        for at, (_, kind, call) in enumerate(order):
            if kind == 1:
                self.end_of[call] = at
        # The last one is both before the first and after the last.
        self.head = count
        self.next = [*range(1, count + 1), 0]
        self.before = [count, *range(count)]
        if not count:
            self.next, self.before = [0], [0]

    def take(self, begin: int) -> None:
        for at in (begin, self.end_of[self.call[begin]]):
            self.next[self.before[at]] = self.next[at]
            self.before[self.next[at]] = self.before[at]

    def put_back(self, begin: int) -> None:
        for at in (self.end_of[self.call[begin]], begin):
            self.next[self.before[at]] = at
            self.before[self.next[at]] = at


def _search(calls: Sequence[Call], step: Step, initial: State) -> tuple[int, list[Call] | None]:
    """(how many were put in order at most, None or the calls of which none fitted then)"""
    events = _Events(calls)
    answered = sum(call.answered for call in calls)
    state, done = initial, 0
    others = sum(1 << at for at, call in enumerate(calls) if not call.answered)
    # By answered calls and state: the sets of others that were used.
    tried: dict[tuple[int, State], list[int]] = {}
    order: list[tuple[int, State]] = []
    left = answered
    best, stuck = -1, list[Call]()
    at = events.next[events.head]
    while left:
        call = calls[events.call[at]]
        if events.is_begin[at]:
            fits, after = step(state, call.asked, call.answer if call.answered else None)
            now = done | 1 << events.call[at]
            if fits and _is_new(tried.setdefault((now & ~others, after), []), now & others):
                order.append((at, state))
                state, done = after, now
                left -= call.answered
                events.take(at)
                at = events.next[events.head]
            else:
                at = events.next[at]
            continue
        # A call ends that is not in the order: everything that could come before it was tried.
        if len(order) > best:
            best, stuck = len(order), _open(events, calls, at)
        if not order:
            return best, stuck
        at, state = order.pop()
        done &= ~(1 << events.call[at])
        left += calls[events.call[at]].answered
        events.put_back(at)
        at = events.next[at]
    return len(order), None


def _is_new(used: list[int], now: int) -> bool:
    if any(before & ~now == 0 for before in used):
        return False
    used[:] = [before for before in used if now & ~before]
    used.append(now)
    return True


def _open(events: _Events, calls: Sequence[Call], until: int) -> list[Call]:
    found, at = [], events.next[events.head]
    while at != until:
        if events.is_begin[at]:
            found.append(calls[events.call[at]])
        at = events.next[at]
    return found


# A register with compare-and-set

READ = ("read",)


def write(value: Hashable) -> tuple[str, Hashable]:
    return "write", value


def compare_and_set(expected: Hashable, value: Hashable) -> tuple[str, Hashable, Hashable]:
    return "compare and set", expected, value


def register(state: State, asked: tuple[Any, ...], answer: Any) -> tuple[bool, State]:
    """The answer of a read is the value, of a write True, of a compare-and-set whether it was done."""
    match asked:
        case ("read",):
            return answer is None or answer == (state,), state
        case ("write", value):
            return True, value
        case (_, expected, value):
            done = state == expected
            return answer is None or answer == done, value if done else state
    raise AssertionError(asked)


def saw(value: Hashable) -> tuple[Hashable]:
    """What a read is answered; not None, which is no answer."""
    return (value,)
