"""What is kept in etcd, and under which keys. Pure. Diagram: docs/format/etcd.md.

    PREFIX/now/log           the log's id: a command log is known by it, and not by its address
    PREFIX/now/head          the number of the last command
    PREFIX/now/snapshot      the last snapshot of the state, and where its parts are
    PREFIX/now/coordinator   who decides; gone when its lease ends
    PREFIX/running/NUMBER    a node that runs; gone when its lease ends
    PREFIX/log/NUMBER        one command, or where its parts are
    PREFIX/part/NUMBER/ID/I  parts of a command that is too large for one value
    PREFIX/state/ID/I        parts of a snapshot

Numbers are 16 digits, hexadecimal, so that keys are in the order of numbers. Values are frames with magic ``TK``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from tsdb.errors import DataCorrupted
from tsdb.storage.frame import seal, unseal

MAGIC = b"TK"
VERSION = 1
VALUE_BYTES_MAX = 1 << 20
"""Of one value in etcd, whose requests may have 1.5 MiB by default."""
INLINE_BYTES_MAX = VALUE_BYTES_MAX - 256
"""Of a command beside the rest of its value."""
ID_BYTES = 16
HASH_BYTES = 16

_ENCODER = msgspec.msgpack.Encoder()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One command. ``id`` is drawn for each attempt to append, so that its sender knows it again; ``digest`` is that of
    the state that the command is applied to. Of a long one the ``body`` is in ``parts`` parts, and this its hash."""

    number: int
    id: bytes
    digest: bytes
    node: int
    body: bytes
    parts: int = 0


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot: the state after command ``number``, with its digest there. The log begins after ``cut``."""

    number: int
    id: bytes
    digest: bytes
    parts: int
    hash: bytes
    cut: int


class Coordinator(msgspec.Struct, frozen=True, array_like=True):
    """Who decides, by its number, and what tells two terms of office of one node apart."""

    node: int
    id: bytes


K = TypeVar("K", Entry, Saved, Coordinator)
_NAMES: dict[type[msgspec.Struct], str] = {
    Entry: "a command", Saved: "the place of the snapshot", Coordinator: "the coordinator"
}  # fmt: skip


def pack(value: msgspec.Struct) -> bytes:
    return seal(MAGIC, VERSION, _ENCODER.encode(value))


def unpack(value: bytes, kind: type[K]) -> K:
    """Raises DataCorrupted."""
    what = f"{_NAMES[kind]} in etcd"
    try:
        return msgspec.msgpack.decode(unseal(value, MAGIC, VERSION, what), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataCorrupted(f"{what}: {error}") from error


def number_text(number: int) -> bytes:
    return b"%016x" % number


def number_of(text: bytes, what: str) -> int:
    """Raises DataCorrupted."""
    try:
        if len(text) != 16:
            raise ValueError
        return int(text, 16)
    except ValueError:
        raise DataCorrupted(f"{what} in etcd is no number: {text[:40]!r}") from None


def hash_of(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=HASH_BYTES).digest()


def cut_up(body: bytes) -> list[bytes]:
    """The values that hold a long body."""
    size = VALUE_BYTES_MAX - 64
    return [seal(MAGIC, VERSION, body[at : at + size]) for at in range(0, len(body), size)]


def joined(values: Sequence[bytes], expected: bytes, what: str) -> bytes:
    """The body that was cut up, by its hash. Raises DataCorrupted."""
    body = b"".join(unseal(value, MAGIC, VERSION, f"a part of {what} in etcd") for value in values)
    if hash_of(body) != expected:
        raise DataCorrupted(f"{what} in etcd is not what was written: its hash does not hold")
    return body


class Keys:
    """The keys of one cluster."""

    def __init__(self, prefix: str) -> None:
        start = prefix.encode() + b"/"
        self.now = start + b"now/"
        self.log_id = self.now + b"log"
        self.head = self.now + b"head"
        self.snapshot = self.now + b"snapshot"
        self.coordinator = self.now + b"coordinator"
        self.entries = start + b"log/"
        self.parts = start + b"part/"
        self.states = start + b"state/"
        self.running = start + b"running/"

    def entry(self, number: int) -> bytes:
        return self.entries + number_text(number)

    def parts_from(self, number: int) -> bytes:
        """Parts of commands that were meant to get this number, or a higher one."""
        return self.parts + number_text(number)

    def parts_of(self, number: int, id: bytes) -> bytes:
        return self.parts_from(number) + b"/" + id.hex().encode() + b"/"

    def state(self, id: bytes) -> bytes:
        return self.states + id.hex().encode() + b"/"


def part(prefix: bytes, at: int) -> bytes:
    return prefix + b"%06x" % at
