"""What is told of a continuous view: how far it is stored, and how its refreshes went."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.model.continuous import Spans


@dataclass(frozen=True, slots=True)
class ContinuousState:
    """Instants in ns, NS_MIN or None for none; runs and what follows count since the start of the server.

    ``history_ns``: buckets before it are never computed again; ``error`` is that of the last run, None if it went well.
    """

    source: str
    watermark_ns: int
    history_ns: int
    dirty: Spans
    started_ns: int | None = None
    runs: int = 0
    failures: int = 0
    seconds: float = 0.0
    error: str | None = None
