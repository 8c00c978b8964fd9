"""A disk for the storage logic: what is not synced is lost in a crash, from some batch on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


class Batch:
    """Changes that are written together."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, bytes, bytes | None]] = []

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self.changes.append((family, key, value))

    def delete(self, family: str, key: bytes) -> None:
        self.changes.append((family, key, None))

    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        self.changes.append((family, low, high))
        self.changes.append(("", b"", None))


class Disk:
    """The part of ``tsdb.storage.rocks.Rocks`` that a Raft log needs. One WAL: what survives is a prefix of it."""

    def __init__(self) -> None:
        self._now: dict[str, dict[bytes, bytes]] = {}
        self._durable: dict[str, dict[bytes, bytes]] = {}
        self._unsynced: list[Batch] = []
        self.syncs = 0

    def batch(self) -> Batch:
        return Batch()

    def write(self, batch: Batch, sync: bool) -> None:
        _apply(self._now, batch)
        self._unsynced.append(batch)
        if sync:
            self.syncs += 1
            for written in self._unsynced:
                _apply(self._durable, written)
            self._unsynced = []

    def crash(self, chance: random.Random) -> None:
        """Power is lost: some prefix of what was not synced is there afterwards."""
        for written in self._unsynced[: chance.randint(0, len(self._unsynced))]:
            _apply(self._durable, written)
        self._unsynced = []
        self._now = {family: dict(records) for family, records in self._durable.items()}

    def durable(self, family: str, key: bytes) -> bytes | None:
        """What would be there after a crash that keeps as little as it may."""
        return self._durable.get(family, {}).get(key)

    def get(self, family: str, key: bytes) -> bytes | None:
        return self._now.get(family, {}).get(key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(family, key) for key in keys]

    def scan(self, family: str, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for key, value in sorted(self._now.get(family, {}).items()):
            if key >= low and (high is None or key < high):
                yield key, value


def _apply(families: dict[str, dict[bytes, bytes]], batch: Batch) -> None:
    changes = batch.changes
    for at, (family, key, value) in enumerate(changes):
        if not family:
            continue
        records = families.setdefault(family, {})
        if at + 1 < len(changes) and not changes[at + 1][0]:
            assert value is not None
            for doomed in [k for k in records if key <= k < value]:
                del records[doomed]
        elif value is None:
            records.pop(key, None)
        else:
            records[key] = value
