"""Images of dictionaries that come again: a series' tags have the same values in each result."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

# So many dictionaries of so many values at most: some MiB.
KNOWN_MAX, VALUES_MAX = 128, 4096


class KnownImages(Generic[V]):
    """What was made of the dictionaries that were asked for last, each of which is kept: another one could come to lie
    where it was. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[object, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, identity: Hashable) -> V | None:
        """``identity``: the type of a dictionary and where its buffers lie."""
        with self._lock:
            found = self._kept.get(identity)
            if found is None:
                return None
            self._kept.move_to_end(identity)
            return found[1]

    def put(self, identity: Hashable, dictionary: object, image: V) -> None:
        with self._lock:
            self._kept[identity] = dictionary, image
            while len(self._kept) > KNOWN_MAX:
                self._kept.popitem(last=False)
