"""A disk in memory that loses at a crash what was not synced, and may stop at any step."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tsdb.ingest.hints.text import Octets


class Crash(Exception):
    """The node is gone: after the step that was under way, or before it."""


class _File:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.synced = False


class LossyDisk:
    """A ``disk.Disk``. With ``crash_in`` n the n-th step from now crashes: done or not, as ``chance`` has it."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._files: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._changes: list[tuple[str, _File | None]] = []
        self.crash_in: int | None = None
        self.steps = 0
        self.fails = False
        self.syncs_that_fail = 0
        """Of those of names, the next ones."""
        self.free = 1 << 40

    def crash(self) -> None:
        """What is there at the next start."""
        names = {**self._durable}
        # Changes of names reach the disk in any order, or not.
        for name, file in self._chance.sample(self._changes, self._chance.randint(0, len(self._changes))):
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        for file in {*names.values()}:
            if not file.synced:
                file.content = file.content[: self._chance.randint(0, len(file.content))]
        self._files, self._durable, self._changes = names, {**names}, []
        self.crash_in = None

    def step(self) -> None:
        """Something that a crash may come before."""
        self.steps += 1
        if self.fails:
            raise OSError(5, "Input/output error")
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                raise Crash

    def names(self) -> list[str]:
        return self._chance.sample([*self._files], len(self._files))

    def write(self, name: str, parts: Sequence[Octets]) -> None:
        self._set(name, _File(b""))
        self.step()
        self._files[name].content = b"".join(parts)
        self.step()

    def sync(self, name: str) -> None:
        self.step()
        self._files[name].synced = True
        self.step()

    def rename(self, name: str, to: str) -> None:
        self.step()
        self._set(to, self._files[name])
        self._set(name, None)
        self.step()

    def sync_names(self) -> None:
        self.step()
        if self.syncs_that_fail:
            self.syncs_that_fail -= 1
            # Some of it may have come to the disk.
            for name, file in self._chance.sample(self._changes, self._chance.randint(0, len(self._changes))):
                self._set_durable(name, file)
            raise OSError(5, "Input/output error")
        self._durable, self._changes = {**self._files}, []
        self.step()

    def remove(self, name: str) -> None:
        if name in self._files:
            self.step()
            self._set(name, None)
            self.step()

    def _set_durable(self, name: str, file: _File | None) -> None:
        if file is None:
            self._durable.pop(name, None)
        else:
            self._durable[name] = file

    def _set(self, name: str, file: _File | None) -> None:
        if file is None:
            del self._files[name]
        else:
            self._files[name] = file
        self._changes.append((name, file))

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(2, "No such file or directory")
        return self._files[name].content

    def first_line(self, name: str) -> bytes:
        head, newline, _ = self.read(name).partition(b"\n")
        return head + newline

    def size(self, name: str) -> int:
        return len(self.read(name))

    def free_bytes(self) -> int:
        return self.free

    def damage(self, name: str) -> None:
        content = bytearray(self._files[name].content)
        content[-1] ^= 1
        self._files[name].content = bytes(content)
