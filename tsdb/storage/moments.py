"""Moments: which versions of the data are read, or were read by who is going to write because of it.

A view, a running scan and a deletion that waits for its COMMIT each hold a ``Moment``; one that nobody holds any more
is over, and nobody has to say so. Two things ask: what was dropped is deleted when no moment is as old as that, and a
flush does not merge versions across a moment (``merge.merge_versions``).
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable

from tsdb.model.store import Moment
from tsdb.storage.version import Version


class Moments:
    """The moments that are held. Safe for many threads."""

    def __init__(self) -> None:
        self._held: dict[int, weakref.ref[Moment]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def open(self, newest: Callable[[], Version]) -> tuple[Version, Moment]:
        """The newest version and its moment. While the lock is held nobody decides that it is held by nobody."""
        with self._lock:
            version = newest()
            moment = Moment(version.number, version.counter)
            key = next(self._numbers)
            self._held[key] = weakref.ref(moment, lambda _: self._held.pop(key, None))
            return version, moment

    def __len__(self) -> int:
        return len(self._all())

    def oldest(self) -> int | None:
        """The number of the oldest version that is held."""
        return min((moment.number for moment in self._all()), default=None)

    def counters(self) -> tuple[int, ...]:
        """Up to which counter each moment has seen, ascending."""
        return tuple(sorted({moment.counter for moment in self._all()}))

    def _all(self) -> list[Moment]:
        with self._lock:
            held = self._held.copy()
        return [moment for reference in held.values() if (moment := reference()) is not None]
