"""How much may still be written to the disk: writes stop at a reserve of free space, before a write to the disk fails.

What is in memory is on its way to the disk: its blocks take as many bytes at most, and have to fit beside the reserve.
Where there is no room a head is flushed early: mostly its blocks are far smaller, and its part of the log goes.
Deletions are taken down to half of the reserve, since they are how space is won back; compaction goes into it only to
drop blocks.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tsdb.errors import DiskFull
from tsdb.storage.options import Options

log = logging.getLogger("tsdb.storage")

HEADS_MIN = 1 << 20
"""Less in memory is not counted: flushes of next to nothing would not help."""


class DiskRoom:
    """Belongs to the committer's thread, but for ``has`` and ``free_bytes``. ``refused``: writes that found no room.
    ``waits_for_flush``: the last look found none, and may find some when heads are in blocks."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._reserve = options.reserve_bytes
        self._is_short = False
        self.refused = 0
        self.waits_for_flush = False

    @property
    def free_bytes(self) -> int:
        return self._options.free_bytes(self._path)

    def has(self, more: int = 0) -> bool:
        """Whether so many bytes may be written and the reserve stays free."""
        return self._reserve <= 0 or self.free_bytes >= self._reserve + more

    def takes_writes(self, heads: int) -> bool:
        """With so many bytes in memory that are still to be written."""
        if self._reserve <= 0:
            return True
        free = self.free_bytes
        self._say(free)
        counted = heads if heads >= HEADS_MIN else 0
        takes = free >= self._reserve + counted
        self.waits_for_flush = not takes and counted > 0 and free >= counted + HEADS_MIN
        return takes

    def takes_deletions(self) -> bool:
        return self.has(-self._reserve // 2)

    def _say(self, free: int) -> None:
        is_short = free < self._reserve
        if is_short and not self._is_short:
            log.warning(
                "the disk is nearly full: %d bytes are free at %s, less than disk_reserve, %d: writes are refused",
                free, self._path, self._reserve,
            )  # fmt: skip
        elif self._is_short and not is_short:
            log.info("%d bytes are free at %s again: writes are taken", free, self._path)
        self._is_short = is_short

    def full(self, heads: int = 0) -> DiskFull:
        """What who wants to write is told."""
        waiting = f"{heads} bytes in memory are to be written" if self.waits_for_flush else ""
        return self._full(
            "the disk is nearly full: writes are refused until there is space again, reads go on", waiting
        )

    def too_little(self, what: str, size: int) -> DiskFull:
        """What who wants to write so much at once is told."""
        return self._full(f"the disk has no room for {what}", f"it takes up to {size} bytes")

    def _full(self, message: str, also: str) -> DiskFull:
        free = f"{self.free_bytes} bytes are free at {self._path}, of which {self._reserve} stay free (disk_reserve)"
        return DiskFull(
            message,
            detail=f"{free}, and {also}." if also else f"{free}.",
            hint="Free disk space; or CHECKPOINT (the log goes), or DELETE what is not needed and VACUUM.",
        )
