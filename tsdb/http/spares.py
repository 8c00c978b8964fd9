"""Arrays of bodies that are done with, for the next ones: new memory is zeroed page by page, which costs as much as
reading the body does. Used on the event loop alone."""

from __future__ import annotations

SPARES_MAX = 8
SPARES_BYTES_MAX = 64 << 20


class Spares:
    """The last arrays that came back, within bounds."""

    def __init__(self) -> None:
        self._arrays: list[bytearray] = []

    def take(self, length: int) -> bytearray:
        """An array of so many bytes, with anything in it."""
        for at in reversed(range(len(self._arrays))):
            if length <= 2 * len(self._arrays[at]) <= 4 * length:
                array = self._arrays.pop(at)
                try:
                    # Refused while somebody looks at it, even at the same length.
                    array.extend(bytes(max(1, length - len(array))))
                    del array[length:]
                except BufferError:
                    break
                return array
        return bytearray(length)

    def give(self, array: bytearray) -> None:
        """Nobody needs its bytes any more."""
        self._arrays.append(array)
        while len(self._arrays) > SPARES_MAX or sum(map(len, self._arrays)) > SPARES_BYTES_MAX:
            del self._arrays[0]
