"""What compaction has done: its last tasks and counters, for metrics, system views and the log."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence

from tsdb.model.store import Compaction

KEPT = 1000


class History:
    """The last ``KEPT`` tasks and all there ever were in numbers. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: deque[Compaction] = deque(maxlen=KEPT)
        self._running: Compaction | None = None
        self._tasks: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()

    def run(self, compaction: Compaction | None) -> None:
        """This one is under way; None: none is."""
        with self._lock:
            self._running = compaction

    def done(self, compaction: Compaction) -> None:
        with self._lock:
            self._done.append(compaction)
            self._tasks[compaction.reason] += 1
            self._totals.update(
                blocks_in=compaction.blocks_in,
                blocks_out=compaction.blocks_out,
                rows_in=compaction.rows_in,
                rows_out=compaction.rows_out,
                bytes_in=compaction.bytes_in,
                bytes_out=compaction.bytes_out,
            )

    def count(self, name: str, value: float = 1) -> None:
        with self._lock:
            self._totals[name] += value  # type: ignore[assignment]

    def all(self) -> Sequence[Compaction]:
        """The oldest first; the one that is under way is the last."""
        with self._lock:
            return [*self._done, *([self._running] if self._running else [])]

    def metrics(self) -> dict[str, float]:
        with self._lock:
            names = (
                "failures", "interruptions", "seconds", "blocks_in", "blocks_out", "rows_in", "rows_out", "bytes_in",
                "bytes_out", "bytes_deleted",
            )  # fmt: skip
            found = {f"compaction_{name}": float(self._totals[name]) for name in names}
            found["tagsets_forgotten"] = float(self._totals["tagsets_forgotten"])
            return {"compactions": float(sum(self._tasks.values())), **found}
