"""random() and setseed(): for a seed the numbers that PostgreSQL 15 gives, one after the other; else whole vectors.

Source: src/common/pg_prng.c (xoroshiro128**, seeded by splitmix64), drandom and setseed in utils/adt/float.c.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

_MASK = 2**64 - 1


class Chance:
    """A session's random numbers; threads of one statement take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._any = np.random.default_rng()
        self._state: tuple[int, int] | None = None

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
            self._state = (words[0], words[1])

    def next(self, count: int) -> npt.NDArray[np.float64]:
        """From 0 to below 1."""
        with self._lock:
            return self._any.random(count) if self._state is None else self._seeded(*self._state, count)

    def _seeded(self, s0: int, s1: int, count: int) -> npt.NDArray[np.float64]:
        made = []
        for _ in range(count):
            product = s0 * 5 & _MASK
            value = ((product << 7 | product >> 57) & _MASK) * 9 & _MASK
            made.append(value >> 12)
            sx = s0 ^ s1
            s0 = (s0 << 24 & _MASK | s0 >> 40) ^ sx ^ (sx << 16 & _MASK)
            s1 = sx << 37 & _MASK | sx >> 27
        self._state = (s0, s1)
        return np.array(made, np.float64) * 2.0**-52
