"""What a run has measured, in the form of its JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Load:
    """One way of loading: seconds and rows per second of each run, the most memory the server had in any."""

    way: str
    seconds: list[float] = field(default_factory=list)
    rows_per_second: list[float] = field(default_factory=list)
    memory_bytes: int | None = None


@dataclass(slots=True)
class Timing:
    """One query type: the median latency over the variants in each run, and how it was run.

    ``received_ms`` are the runs until the client's C library held the whole result, where the system has such a client:
    what is left of ``runs_ms`` is the making of Python objects.
    """

    way: str
    rows: int  # of the first variant's answer
    variants: int
    runs_ms: list[float] = field(default_factory=list)
    received_ms: list[float] = field(default_factory=list)
    slowest_ms: float = 0.0
    compared: bool = True


@dataclass(slots=True)
class Fetch:
    """One way of fetching a large result."""

    rows: int
    rows_per_second: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Concurrent:
    """One query type asked by several clients at once."""

    clients: int
    queries_per_second: float
    median_ms: float


@dataclass(slots=True)
class SystemResult:
    """All of one system. ``state`` is "measured", "not installed" or "failed", ``reason`` says why."""

    name: str
    state: str = "measured"
    reason: str = ""
    version: str = ""
    loads: list[Load] = field(default_factory=list)
    settle_seconds: float = 0.0
    disk_bytes: int = 0
    bytes_per_value: float = 0.0
    memory_of_queries_bytes: int | None = None
    queries: dict[str, Timing] = field(default_factory=dict)
    fetch: dict[str, Fetch] = field(default_factory=dict)
    concurrent: dict[str, Concurrent] = field(default_factory=dict)
    not_comparable: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Results:
    """One run of the benchmark."""

    machine: dict[str, object]
    workload: dict[str, object]
    options: dict[str, object]
    systems: list[SystemResult] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What makes the run fail: wrong answers, and systems that could not be measured to the end."""
        failed = [f"{system.name}: {system.reason}" for system in self.systems if system.state == "failed"]
        wrong = [f"{system.name}: {text}" for system in self.systems for text in system.differences]
        return failed + wrong

    def as_json(self) -> dict[str, object]:
        """For `json.dump`."""
        return asdict(self)


def median(runs: Sequence[float]) -> float:
    """The median of the runs; NaN without any."""
    return statistics.median(runs) if runs else float("nan")
