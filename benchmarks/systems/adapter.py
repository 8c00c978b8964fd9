"""What an adapter is: `System` and `Client`, and what adapters of servers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.answers import Answer
from benchmarks.queries import Kind, Query
from benchmarks.render import Dataset


@dataclass(frozen=True, slots=True)
class LoadWay:
    """One way of loading: its name, and by how many connections."""

    name: str
    workers: int

    def __str__(self) -> str:
        return f"{self.name} ×{self.workers}"


class Client(ABC):
    """One connection, used by one thread."""

    @abstractmethod
    def ways(self, query: Query) -> tuple[str, ...]:
        """The ways to run the query, of which the fastest is reported (all of them, for the fetch)."""

    @abstractmethod
    def compile(self, query: Query, way: str) -> Callable[[], Any]:
        """A function that sends the query and fetches the whole result."""

    def receiving(self, query: Query) -> Callable[[], Any] | None:
        """A function that sends the query and leaves the whole result in the memory of the client's C library.

        None where the client has none.
        """
        del query
        return None

    @abstractmethod
    def answer(self, query: Query, way: str, result: Any) -> Answer | None:
        """What the function gave, as an answer; None where the way gives bytes that nobody has decoded."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


class System(ABC):
    """One system under measurement. ``notes`` say what a reader of its numbers must know."""

    name: ClassVar[str]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def missing(self) -> str | None:
        """Why it cannot run here, or None."""

    @abstractmethod
    def version(self) -> str:
        """The version that runs."""

    @abstractmethod
    def load_ways(self, workers: tuple[int, ...]) -> tuple[LoadWay, ...]:
        """How it can be loaded."""

    @abstractmethod
    def start(self, directory: Path) -> None:
        """Start it with no points in it."""

    @abstractmethod
    def pid(self) -> int | None:
        """The server's process id; None when it runs inside this process."""

    @abstractmethod
    def load(self, dataset: Dataset, way: LoadWay) -> float:
        """Load all points; the seconds until all were acknowledged."""

    def write_at(self) -> tuple[int, str] | None:
        """The port and the path that take line protocol over HTTP, or None."""
        return None

    @abstractmethod
    def settle(self) -> None:
        """Wait until nothing is left to flush or merge."""

    @abstractmethod
    def disk_bytes(self) -> int:
        """The space its points take on disk."""

    @abstractmethod
    def connect(self) -> Client:
        """A new connection."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it; harmless when it does not run."""

    def not_comparable(self, query: Query) -> str | None:
        """Why it has no counterpart of the query, or None."""
        del query
        return None

    def comparable(self, query: Query, answer: Answer) -> Answer:
        """The part of an answer that this system can be expected to give."""
        del query
        return answer

    def keeps_order(self, query: Query) -> bool:
        """Whether its answers come in the order that the query asks for."""
        return query.is_ordered and query.kind is not Kind.FETCH
