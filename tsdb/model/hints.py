"""A hint: a numbered batch of line protocol that a node keeps on its disk until somebody leads its database again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """``number`` is its place in the node's queue and the name of its file. ``database`` is the number of the one that
    it was sent to, ``name`` what that was called. ``series``: the tables of its lines that there were when it was
    taken, by name and number, and ``catalog`` the version of the schema then. ``role``: whose privileges held.
    ``acks`` is what the write said of them (None: nothing, as its tables say).

    ``checksum`` (CRC-32) and ``body_bytes`` are of its lines, ``digest`` of lines and precision. ``refused``: why they
    were not stored as they are, for good; "": it waits. ``waits_for``: why it could not be stored yet, as far as was
    tried. Times are ns since 1970 UTC.
    """

    number: int
    database: int = 0
    name: str = ""
    producer: str = ""
    batch: int = 0
    digest: int = 0
    precision: str = "ns"
    accept_partial: bool = True
    acks: int | None = None
    role: int = 0
    catalog: int = 0
    series: tuple[tuple[str, int], ...] = ()
    queued_ns: int = 0
    body_bytes: int = 0
    checksum: int = 0
    refused: str = ""
    refused_ns: int = 0
    waits_for: str = ""

    @property
    def file(self) -> str:
        """Its file's name, in the folder ``hints`` of the data directory."""
        return f"{self.number:020d}.{'refused' if self.refused else 'hint'}"
