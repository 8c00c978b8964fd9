"""random() and setseed(): the numbers that PostgreSQL 15 gives for a seed.

Source: src/common/pg_prng.c (xoroshiro128**, seeded by splitmix64), drandom and setseed in utils/adt/float.c.
"""

from __future__ import annotations

import secrets
import threading

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel

_MASK = 2**64 - 1


@kernel
def _fill(state: npt.NDArray[np.uint64], out: npt.NDArray[np.float64]) -> None:
    s0, s1 = state[0], state[1]
    for i in range(len(out)):
        product = s0 * np.uint64(5)
        value = ((product << np.uint64(7)) | (product >> np.uint64(57))) * np.uint64(9)
        sx = s0 ^ s1
        s0 = ((s0 << np.uint64(24)) | (s0 >> np.uint64(40))) ^ sx ^ (sx << np.uint64(16))
        s1 = (sx << np.uint64(37)) | (sx >> np.uint64(27))
        out[i] = np.float64(value >> np.uint64(12)) * 2.0**-52
    state[0], state[1] = s0, s1


class Chance:
    """A session's random numbers; threads of one statement take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = np.array([secrets.randbits(64), secrets.randbits(63) | 1], np.uint64)

    def seed(self, seed: float) -> None:
        """``seed`` from -1 to 1."""
        at = int((2.0**52 - 1) * seed) & _MASK
        words = []
        for _ in range(2):
            at = (at + 0x9E3779B97F4A7C15) & _MASK
            value = ((at ^ at >> 30) * 0xBF58476D1CE4E5B9) & _MASK
            value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
            words.append(value ^ value >> 31)
        with self._lock:
            self._state = np.array(words, np.uint64)

    def next(self, count: int) -> npt.NDArray[np.float64]:
        """From 0 to below 1."""
        made = np.empty(count, np.float64)
        with self._lock:
            _fill(self._state, made)
        return made
