"""The limits of a storage engine, and what it is handed from outside: the clock, free space, how to die."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tsdb.clock import Clock, SystemClock
from tsdb.errors import NodeRemoved
from tsdb.model.time import NS_PER_SECOND

MIB = 1 << 20
EXIT_STORAGE_FAILED = 74
EXIT_REMOVED = NodeRemoved.exit_code

log = logging.getLogger("tsdb.storage")


def free_bytes(path: Path) -> int:
    """What this process may still write on the file system of ``path``."""
    return shutil.disk_usage(path).free


def abort(reason: str) -> None:
    """End the process now: after a failed write or sync nothing it says about its data can be believed."""
    log.critical("storage failed, the process ends to be recovered from its log: %s", reason)
    logging.shutdown()
    os._exit(EXIT_STORAGE_FAILED)


def leave(reason: str) -> None:
    """End the process now: its node was removed from its cluster, and must not act as one of it."""
    log.critical("the process ends: %s", reason)
    logging.shutdown()
    os._exit(EXIT_REMOVED)


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes in bytes, times in seconds.

    ``head_bytes``: what recent points are meant to take. The live head is frozen and flushed at half of it, so that the
    next one fills while the last one is written; writers wait at one and a half of it (live and frozen heads and queued
    ops together), for ``write_wait`` at most. ``ops_kept`` flushed ops stay in each location's log, and
    ``replica_log_bytes`` of them in all logs that other nodes have as well. Every ``marker_interval`` logs get a
    marker, and every ``check_interval`` (0: never) the points that several nodes have are compared between them.
    ``disk_reserve``: writes are refused below this much free space, beside which heads have to fit; by default the
    larger of 512 MiB and twice ``wal_bytes``. ``compaction`` goes on in the background, at ``compaction_rate`` bytes
    read and written a second at most (0: as fast as it can); it leaves alone what has changed in the last
    ``compaction_quiet`` seconds. Copies for other nodes are sent at ``copy_rate`` (0: as fast as can be). ``abort`` and
    ``leave`` must not return in a server.
    """

    head_bytes: int = 256 * MIB
    head_age: float = 30 * 60
    frozen_max: int = 4
    queue_bytes: int = 64 * MIB
    group_bytes: int = 32 * MIB
    write_wait: float = 5.0
    rows_per_block: int = 16_384
    encode_threads: int = 2
    values_batch_bytes: int = 4 * MIB
    replica_log_bytes: int = 1024 * MIB
    runs_cache_bytes: int = 32 * MIB
    columns_cache_bytes: int = 32 * MIB
    hot_columns_bytes: int = 64 * MIB
    summaries_cache_bytes: int = 64 * MIB
    ops_kept: int = 0
    producers_max: int = 10_000
    producer_window: float = 7 * 86400
    tagsets_max: int = 10_000_000
    marker_interval: float = 300
    check_interval: float = 600
    node_id: int = 1
    wal_bytes: int = 256 * MIB
    disk_reserve: int | None = None
    compaction: bool = True
    compaction_rate: int = 16 * MIB
    compaction_quiet: float = 60.0
    copy_rate: int = 64 * MIB
    clock: Clock = field(default_factory=SystemClock)
    free_bytes: Callable[[Path], int] = free_bytes
    abort: Callable[[str], None] = abort
    leave: Callable[[str], None] = leave

    @property
    def live_bytes(self) -> int:
        """The live head is frozen at this size."""
        return self.head_bytes // 2

    @property
    def memory_bytes(self) -> int:
        """Live and frozen heads and queued ops together."""
        return self.head_bytes * 3 // 2

    @property
    def reserve_bytes(self) -> int:
        return max(512 * MIB, 2 * self.wal_bytes) if self.disk_reserve is None else self.disk_reserve

    @property
    def marker_interval_ns(self) -> int:
        return int(self.marker_interval * NS_PER_SECOND)

    @property
    def head_age_ns(self) -> int:
        return int(self.head_age * NS_PER_SECOND)
