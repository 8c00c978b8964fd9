"""Images of dictionaries that come again: a series' tags have the same values in each result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

# So many dictionaries of so many values, in so many bytes, at most: 32 MiB. A tag may be as long as its line.
KNOWN_MAX, VALUES_MAX, BYTES_MAX = 128, 4096, 1 << 18


class KnownImages(Generic[V]):
    """What was made of the dictionaries that were asked for last, each of which is kept: another one could come to lie
    where it was. Any thread may call: each step on the dictionary is one, and who misses what another is about to
    put back makes it again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[object, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, identity: Hashable) -> V | None:
        """``identity``: the type of a dictionary and where its buffers lie."""
        found = self._kept.pop(identity, None)
        if found is None:
            return None
        self._kept[identity] = found
        return found[1]

    def put(self, identity: Hashable, dictionary: object, image: V) -> None:
        self._kept[identity] = dictionary, image
        while len(self._kept) > KNOWN_MAX:
            self._kept.popitem(last=False)
