"""Keys of points, (tag set by value, time): finding those of one batch in another without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


class KeyIndex:
    """Distinct keys, sorted; ``rows`` of the given ones, in their order, have the numbers ``number``."""

    def __init__(self, tagsets: Sequence[bytes], tagset: Int32s, times: Int64s) -> None:
        self._ids: dict[bytes, int] = {}
        ids = np.fromiter((self._ids.setdefault(each, len(self._ids)) for each in tagsets), np.int64, len(tagsets))
        self.times, at = np.unique(times, return_inverse=True)
        codes = at * max(1, len(self._ids)) + (ids[tagset] if len(tagset) else 0)
        self._codes, self.number = np.unique(codes, return_inverse=True)

    def __len__(self) -> int:
        return len(self._codes)

    def may_hold(self, times: Int64s) -> Mask:
        """Which of some rows have a time that a key here has: a cheap sieve before their tag sets are looked at."""
        if not len(self.times):
            return np.zeros(len(times), np.bool_)
        at = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
        found: Mask = self.times[at] == times
        return found

    def find(self, tagsets: Sequence[bytes], tagset: Int32s, times: Int64s) -> Int64s:
        """The number of each row's key, −1 where it is none of them."""
        if not len(self._codes) or not len(times):
            return np.full(len(times), -1, np.int64)
        ids = np.fromiter((self._ids.get(each, -1) for each in tagsets), np.int64, len(tagsets))[tagset]
        at = np.minimum(np.searchsorted(self.times, times), len(self.times) - 1)
        codes = at * max(1, len(self._ids)) + ids
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        known = (ids >= 0) & (self.times[at] == times) & (self._codes[place] == codes)
        return np.where(known, place, -1)
