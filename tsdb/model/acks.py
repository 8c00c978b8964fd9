"""When a write to a database that several nodes have is acknowledged, and what became of one that was.

A number is of replicas that have it on disk; 0 waits for none. What fewer than a majority had may be lost with its
leader, is *reverted* then, and can be asked for by its token (``Fate``).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

QUORUM = -1
"""A majority: what nobody has said otherwise about."""
ALL = -2
"""Every replica; more of them than there are is the same."""
COUNT_MAX = 99

_WORDS = {"quorum": QUORUM, "all": ALL}


class Fate(Enum):
    """Of a write by its token. UNKNOWN: not decided yet, or nobody who knows could be asked."""

    COMMITTED = "committed"
    REVERTED = "reverted"
    UNKNOWN = "unknown"


def acks_of(text: str) -> int:
    """Raises ValueError."""
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    if not (word.isascii() and word.isdigit() and len(word) <= 2):
        raise ValueError(text)
    return int(word)


def text_of(acks: int) -> str:
    return next((word for word, value in _WORDS.items() if value == acks), str(acks))


def are_acks(number: int) -> bool:
    return ALL <= number <= COUNT_MAX


def replicas_needed(acks: int, replicas: int) -> int:
    """On how many disks of so many a write is when it is acknowledged."""
    if acks == QUORUM:
        return replicas // 2 + 1
    return replicas if acks == ALL else min(acks, replicas)


def strongest(wanted: Iterable[int], replicas: int) -> int:
    """Of what several have asked for the one that holds for all; nobody: QUORUM."""
    return max(wanted, key=lambda acks: (replicas_needed(acks, replicas), acks == QUORUM), default=QUORUM)


def fell_short(asked: int, reached: int, replicas: int) -> bool:
    """Whether a majority is less than what was asked for: what is answered when the others took too long."""
    return reached == QUORUM and replicas_needed(asked, replicas) > replicas_needed(QUORUM, replicas)


def worst(fates: Iterable[Fate]) -> Fate:
    """Of several parts: a whole is committed if all of it is, and reverted if any of it is."""
    found = {*fates}
    return next((fate for fate in (Fate.REVERTED, Fate.UNKNOWN) if fate in found), Fate.COMMITTED)
