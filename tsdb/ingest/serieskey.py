"""Series keys as written, decoded once: measurement and sorted tag set.

Writers repeat their series keys in every request, so decoded ones are kept across requests, bounded by bytes, in two
generations: when the young one is full it becomes the old one and the old one is forgotten; what is used again moves
back to the young. All of it may be called from several threads.
"""

from __future__ import annotations

import re
from threading import Lock

_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_UNESCAPED_EQUALS = re.compile(r"(?<!\\)=")

# What one entry costs beside its text, roughly: objects, dictionary slots.
_ENTRY_BYTES = 500


class TagSet:
    """The tags of a point: ``pairs`` of (key, value) sorted by key; ``names`` are the keys alone.

    Equal and hashed by its pairs; the hash is computed once.
    """

    __slots__ = ("_hash", "encoded", "names", "pairs")

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        self.pairs = pairs
        self.names = tuple(key for key, _ in pairs)
        self._hash = hash(pairs)
        # (column numbers of names, the tag set by value), left here by tsdb.ingest.bind.
        self.encoded: tuple[tuple[int, ...], bytes] | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, TagSet) and self.pairs == other.pairs)

    def __repr__(self) -> str:
        return f"TagSet({self.pairs!r})"


def unescape_measurement(text: str) -> str:
    r"""``\,`` and ``\ `` lose their backslash; ``\=`` keeps it, since ``=`` needs none there."""
    return text.replace("\\,", ",").replace("\\ ", " ") if "\\" in text else text


def unescape_key(text: str) -> str:
    r"""Tag keys, tag values and field keys: ``\,``, ``\=`` and ``\ `` lose their backslash."""
    return text.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " ") if "\\" in text else text


def decode_series_key(raw: bytes) -> tuple[str, TagSet]:
    """Measurement and tags of a series key that the kernel found good."""
    text = raw.decode()
    if "\\" not in text:
        measurement, *tags = text.split(",")
        pairs = [tag.split("=", 1) for tag in tags]
        return measurement, TagSet(tuple(sorted((key, value) for key, value in pairs)))
    measurement, *tags = _UNESCAPED_COMMA.split(text)
    escaped = [_UNESCAPED_EQUALS.split(tag, maxsplit=1) for tag in tags]
    pairs_sorted = sorted((unescape_key(key), unescape_key(value)) for key, value in escaped)
    return unescape_measurement(measurement), TagSet(tuple(pairs_sorted))


class SeriesKeyCache:
    """Raw series key → (measurement, tag set), at most about ``bytes_max`` bytes."""

    def __init__(self, bytes_max: int = 128 << 20) -> None:
        self._generation_bytes = bytes_max // 2
        self._young: dict[bytes, tuple[str, TagSet]] = {}
        self._old: dict[bytes, tuple[str, TagSet]] = {}
        self._young_bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def decode(self, raw: bytes) -> tuple[str, TagSet]:
        found = self._young.get(raw)
        if found is not None:
            return found
        found = self._old.get(raw)
        if found is None:
            found = decode_series_key(raw)
        with self._lock:
            self._young_bytes += 4 * len(raw) + _ENTRY_BYTES
            if self._young_bytes > self._generation_bytes:
                self._old, self._young = self._young, {}
                self._young_bytes = 4 * len(raw) + _ENTRY_BYTES
            self._young[raw] = found
        return found
