"""Line protocol that comes in pieces: which bytes are whole lines whatever comes after them.

A newline ends a line except inside a string, and whether a quote begins a string is only known when its closing quote
has come (``kernel_lines.line_end``). So a line with an open string waits for more, at most ``pending_bytes_max``: then
it is cut as a body that ends there would be.
"""

from __future__ import annotations

import numpy as np

from tsdb.ingest.kernel_lines import Bytes, line_end, line_ends, separates, string_end
from tsdb.kernels import kernel

_NEWLINE, _RETURN, _TAB, _BLANK, _QUOTE, _HASH = 10, 13, 9, 32, 34, 35
_EQUALS, _BACKSLASH = 61, 92
# A line that waits for its closing quote is looked at again when so much more of it has come.
_GROWTH = 1.25


@kernel
def _certain_end(body: Bytes, p: int, n: int) -> int:
    """Where the line that begins at ``p`` ends, as ``line_end`` says; −1: bytes to come may still decide it."""
    while p < n and (body[p] == _BLANK or body[p] == _TAB):
        p += 1
    if p >= n:
        return -1
    quotes = body[p] != _HASH
    in_fields = False
    previous = 0
    while p < n:
        c = body[p]
        if c == _NEWLINE:
            return p
        if c == _BLANK and previous != _BACKSLASH:
            in_fields = True
        elif quotes and in_fields and c == _EQUALS and previous != _BACKSLASH and p + 1 < n and body[p + 1] == _QUOTE:
            close, _, breaks, _ = string_end(body, p + 1, n)
            if close + 1 >= n or (body[close + 1] == _RETURN and close + 2 >= n):
                return -1
            if separates(body, close + 1, n):
                p = close
                c = body[p]
            elif breaks > 0:
                quotes = False
        previous = c
        p += 1
    return -1


@kernel
def whole_lines(body: Bytes) -> int:
    """How many of the first bytes are lines that have certainly ended."""
    start = 0
    n = len(body)
    while start < n:
        end = _certain_end(body, start, n)
        if end < 0:
            break
        start = end + 1
    return start


@kernel
def point_count(body: Bytes) -> int:
    """How many lines are neither blank nor comments: a newline in a string ends none."""
    count = p = 0
    n = len(body)
    while p < n:
        while p < n and (body[p] == _BLANK or body[p] == _TAB):
            p += 1
        if p < n and not line_ends(body, p, n):
            count += body[p] != _HASH
        p = line_end(body, p, n) + 1
    return count


class LineStream:
    """Bytes in, whole lines out. ``pending_bytes_max`` bounds what waits for the end of one line."""

    def __init__(self, pending_bytes_max: int) -> None:
        self._max = pending_bytes_max
        self._bytes = bytearray()
        self._newline = False
        self._in_vain = 0
        self._skipping = False

    @property
    def pending(self) -> int:
        """Bytes that wait."""
        return len(self._bytes)

    @property
    def quoted(self) -> bool:
        """Whether there is a quote in what waits."""
        return b'"' in self._bytes

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        if not len(data):
            return
        self._bytes += data
        self._newline = self._newline or self._bytes.find(b"\n", -len(data)) >= 0

    def take(self) -> bytearray:
        """The lines that are whole by now; those of a line that is too long come in its place, cut."""
        if self._skipping and not self._skip():
            return bytearray()
        if self._in_vain and self._max > len(self._bytes) < self._in_vain * _GROWTH:
            return bytearray()
        size = whole_lines(np.frombuffer(self._bytes, np.uint8)) if self._newline else 0
        if size == 0 and len(self._bytes) >= self._max:
            return self.cut()
        if size == 0 and self._newline:
            self._in_vain = len(self._bytes)
        return self._taken(size)

    def cut(self) -> bytearray:
        """What has come up to the last newline, as if no quote to come could close a string of it.

        Without any newline all of it, when it is surely too long, as a line: then the rest of that line is left out.
        """
        size = self._bytes.rfind(b"\n") + 1
        if size:
            return self._taken(size)
        if len(self._bytes) >= self._max:
            # Blanks before a line do not count, nor does a carriage return at its end; and what is cut off must never
            # pass for a line that is just short enough.
            self._bytes = self._bytes.lstrip(b" \t")
        if len(self._bytes) <= self._max + 1:
            return bytearray()
        self._skipping = True
        return self._taken(len(self._bytes)) + b"\n"

    def end(self) -> bytearray:
        """All that is left: nothing more will come."""
        return bytearray() if self._skipping and not self._skip() else self._taken(len(self._bytes))

    def _taken(self, size: int) -> bytearray:
        taken = self._bytes[:size]
        if size:
            del self._bytes[:size]
            self._newline = b"\n" in self._bytes
            self._in_vain = 0
        return taken

    def _skip(self) -> bool:
        """Leave out the rest of a line that was cut; is it over?"""
        end = self._bytes.find(b"\n")
        if end < 0:
            self._bytes.clear()
            return False
        del self._bytes[: end + 1]
        self._newline = b"\n" in self._bytes
        self._skipping = False
        return True
