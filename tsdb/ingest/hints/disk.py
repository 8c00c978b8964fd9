"""The steps by which files of hints become durable, and a folder that takes them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tsdb.ingest.hints.text import Octets


class Disk(Protocol):
    """Files of one folder. Each step may be the last one before a crash: what was not synced is there then or not.
    Raises OSError."""

    def names(self) -> list[str]: ...

    def write(self, name: str, parts: Sequence[Octets]) -> None:
        """A new file, in place of any of that name."""
        ...

    def sync(self, name: str) -> None:
        """Its content is durable."""
        ...

    def rename(self, name: str, to: str) -> None: ...

    def sync_names(self) -> None:
        """Which files there are is durable."""
        ...

    def remove(self, name: str) -> None:
        """No error if there is none."""
        ...

    def read(self, name: str) -> bytes: ...

    def first_line(self, name: str) -> bytes: ...

    def size(self, name: str) -> int: ...

    def free_bytes(self) -> int: ...


class Folder:
    """A ``Disk`` in a directory that is made with the first file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return os.listdir(self.path) if self.path.exists() else []

    def write(self, name: str, parts: Sequence[Octets]) -> None:
        if not self.path.exists():
            self.path.mkdir(mode=0o700)
            _sync(self.path.parent)
        with open(self.path / name, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            for part in parts:
                file.write(part)

    def sync(self, name: str) -> None:
        _sync(self.path / name)

    def rename(self, name: str, to: str) -> None:
        os.replace(self.path / name, self.path / to)

    def sync_names(self) -> None:
        _sync(self.path)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def first_line(self, name: str) -> bytes:
        with open(self.path / name, "rb") as file:
            return file.readline()

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path if self.path.exists() else self.path.parent).free


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
