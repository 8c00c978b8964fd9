"""Forwarded proposals whose body travels once.

A follower that forwards a proposal keeps its body under (its node id, a number). The leader's append to that very
follower then carries the number instead of the body, and the follower puts the body in. The CRC-32 in the entry says
that it is the right one; without the body (evicted, restarted) it asks for it: ``NeedBody``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from tsdb.cluster.raft.entries import NOBODY, Entry, EntryKind


class PendingBodies:
    """Bodies that a follower forwarded and has not seen in its log yet, oldest first, bounded in bytes."""

    def __init__(self, node: int, first_number: int, bytes_max: int) -> None:
        # A number that no earlier life of this node has given out: the first is drawn by chance.
        self._next = first_number
        self._node = node
        self._bodies: dict[int, bytes] = {}
        self._bytes = 0
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._bodies)

    def keep(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """The entries to forward, each with its number; changes of members and small bodies go as they are."""
        return tuple(self._keep(entry) for entry in entries)

    def _keep(self, entry: Entry) -> Entry:
        if entry.kind is not EntryKind.NORMAL or not entry.body or entry.origin != NOBODY:
            return entry
        number, self._next = self._next, self._next + 1
        self._bodies[number] = entry.body
        self._bytes += len(entry.body)
        while self._bytes > self._bytes_max:
            self._pop(next(iter(self._bodies)))
        return msgspec.structs.replace(entry, origin=self._node, number=number, checksum=zlib.crc32(entry.body))

    def restore(self, entry: Entry) -> Entry | None:
        """An elided entry with its body, which is forgotten here; None if it is not here."""
        body = self._bodies.get(entry.number) if entry.origin == self._node else None
        if body is None or zlib.crc32(body) != entry.checksum:
            return None
        self._pop(entry.number)
        return msgspec.structs.replace(entry, body=body, elided=False)

    def _pop(self, number: int) -> None:
        self._bytes -= len(self._bodies.pop(number))


def elide(entries: Sequence[Entry], to: int, bodies_through: int) -> tuple[Entry, ...]:
    """Entries as they are sent to a node: what it forwarded itself goes without body, after ``bodies_through``."""
    if not any(entry.origin == to for entry in entries):
        return tuple(entries)
    return tuple(
        msgspec.structs.replace(entry, body=b"", elided=True)
        if entry.origin == to and entry.index > bodies_through
        else entry
        for entry in entries
    )
