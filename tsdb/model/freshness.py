"""How new what a statement reads has to be, where several nodes have the data: the design's read levels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import TypeAlias

Token: TypeAlias = Mapping[int, tuple[int, int]]
"""By location: (epoch, sequence) of an op, whose points and all before them are to be seen."""
Ops: TypeAlias = tuple[tuple[int, int, int], ...]
"""(location, epoch, sequence), ascending: of a write the last op in each location and epoch. What a write logged before
that in the same epoch is committed when that is."""

# So many ops are kept until those are dropped for which there are larger ones.
_KEPT_MAX = 4_096
_TOKEN = re.compile(r"([0-9]{1,18}:[0-9]{1,18}\.[0-9]{1,18}(,|$))*")


class Level(Enum):
    """Who may answer: LINEARIZABLE the leader alone, with all that was acknowledged anywhere before; SESSION any
    replica that has what the session has written and seen; BOUNDED any that has all that was acknowledged up to a time
    ago; ANY any, however old."""

    LINEARIZABLE = "linearizable"
    SESSION = "session"
    BOUNDED = "bounded"
    ANY = "any"


class Seen:
    """What a session has written and seen. Threads may call at once: each operation of a set is whole, and nothing is
    taken out for which there is nothing larger."""

    def __init__(self) -> None:
        self._ops: set[tuple[int, int, int]] = set()

    def add(self, token: Token) -> None:
        self.wrote([(location, *op) for location, op in token.items()])

    def saw(self, token: Token, locations: Iterable[int]) -> None:
        """What a read has, of these locations."""
        self.wrote([(each, *token[each]) for each in locations if each in token])

    def wrote(self, ops: Iterable[tuple[int, int, int]]) -> None:
        """What a write has, as it is told."""
        self._ops.update(ops)
        if len(self._ops) > _KEPT_MAX:
            self._tidy()

    def _tidy(self) -> Token:
        found: dict[int, tuple[int, int]] = {}
        for location, epoch, sequence in sorted(self._ops.copy()):
            if location in found:
                self._ops.discard((location, *found[location]))
            found[location] = epoch, sequence
        return found

    def forget(self, locations: Collection[int] | None = None) -> None:
        """All, or what was seen of some locations."""
        self._ops.difference_update([op for op in self._ops.copy() if locations is None or op[0] in locations])

    @property
    def token(self) -> Token:
        return self._tidy()


@dataclass(frozen=True, slots=True)
class Freshness:
    """A level; ``staleness_ns`` says how old BOUNDED may be. What is read is told to ``seen``, and SESSION has to see
    what was told there before. ``anywhere``: LINEARIZABLE may be answered by a follower that has made sure of it."""

    level: Level = Level.LINEARIZABLE
    staleness_ns: int = 0
    seen: Seen | None = None
    anywhere: bool = False


LINEARIZABLE = Freshness()


def text_of(ops: Ops) -> str:
    """``location:epoch.sequence,…``"""
    return ",".join(f"{location}:{epoch}.{sequence}" for location, epoch, sequence in ops)


def ops_in(token: Token) -> Ops:
    return tuple((location, *op) for location, op in sorted(token.items()))


def merged(*parts: Ops) -> Ops:
    """Of several writes that are one to who has sent them."""
    if len(parts) == 1:
        return parts[0]
    last: dict[tuple[int, int], int] = {}
    for location, epoch, sequence in chain.from_iterable(parts):
        last[location, epoch] = max(last.get((location, epoch), 0), sequence)
    return tuple((*of, sequence) for of, sequence in sorted(last.items()))


def ops_of(text: str) -> Ops:
    """Of a text as ``text_of`` makes it. Raises ValueError."""
    if _TOKEN.fullmatch(text) is None or text.endswith(","):
        raise ValueError(text)
    parts = (part.replace(":", ".").split(".") for part in text.split(",") if part)
    return merged(tuple((int(location), int(epoch), int(sequence)) for location, epoch, sequence in parts), ())


def token_of(ops: Iterable[tuple[int, int, int]]) -> Token:
    """What has to be seen by who is to see all of a write: of each location the last."""
    return {location: (epoch, sequence) for location, epoch, sequence in sorted(ops)}
