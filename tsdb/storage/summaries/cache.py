"""A bounded cache of summaries' checked payloads, least recently used first out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

# The dictionary's entry, the key and the object.
_OVERHEAD_BYTES = 250


class SummaryCache:
    """Key in ``summaries`` → payload, at most ``limit_bytes`` of them. Safe for many threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._lock:
            found = [self._entries.get(key) for key in keys]
            for key, payload in zip(keys, found, strict=True):
                if payload is not None:
                    self._entries.move_to_end(key)
        return found

    def put_many(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep entries, and forget what was not used for the longest time when it gets too much."""
        with self._lock:
            for key, payload in entries:
                if key not in self._entries:
                    self._entries[key] = payload
                    self.bytes += len(payload) + _OVERHEAD_BYTES
            while self.bytes > self._limit_bytes and self._entries:
                _, payload = self._entries.popitem(last=False)
                self.bytes -= len(payload) + _OVERHEAD_BYTES
