"""The text form of arrays, read: ``{1,NULL,"a b",{…}}`` becomes nested lists of text, None for NULL.

Source: PostgreSQL 15 manual, 8.15.6; src/backend/utils/adt/arrayfuncs.c (ArrayCount, ReadArrayStr).
"""

from __future__ import annotations

import re
from typing import Any

from tsdb.errors import InvalidTextRepresentation, ProgramLimitExceeded

DIMENSIONS_MAX = 6

_BOUNDS = re.compile(r"\s*(?:\[\s*[+-]?\d+\s*(?::\s*[+-]?\d+\s*)?\]\s*)+=", re.ASCII)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r'(?:[^"\\{},]|\\.)+', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r\v\f]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_array(text: str) -> list[Any]:
    """Nested lists of ``str | None``. Raises ``InvalidTextRepresentation``. Explicit bounds are read and dropped."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        bounds = _BOUNDS.match(text)
        self._at = bounds.end() if bounds else 0
        self._stack: list[list[Any]] = []
        # Every list of one depth must be as long as the first, and hold lists or elements alike.
        self._lengths: dict[int, int] = {}
        self._leaf_depth: int | None = None

    def read(self) -> list[Any]:
        """One pass; ``expects_item`` tells whether an item or a separator comes next."""
        self._expect("{")
        self._open()
        expects_item, closed = True, []
        while self._stack:
            character = self._peek()
            if character == "}" and (not expects_item or not self._stack[-1]):
                closed = self._close()
                expects_item = False
            elif character == "," and not expects_item:
                self._at += 1
                expects_item = True
            elif character == "{" and expects_item:
                self._at += 1
                self._open()
            elif character and character not in "},{" and expects_item:
                self._leaf()
                expects_item = False
            else:
                raise self._malformed(
                    "Unexpected end of input." if not character else f'Unexpected "{character}" character.'
                )
        if self._peek():
            raise self._malformed("Junk after closing right brace.")
        return closed

    def _peek(self) -> str:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._malformed('Array value must start with "{" or dimension information.')
        self._at += 1

    def _open(self) -> None:
        if len(self._stack) == DIMENSIONS_MAX:
            raise ProgramLimitExceeded(
                f"number of array dimensions ({DIMENSIONS_MAX + 1}) exceeds the maximum allowed ({DIMENSIONS_MAX})"
            )
        self._stack.append([])

    def _close(self) -> list[Any]:
        self._at += 1
        depth = len(self._stack)
        done = self._stack.pop()
        if self._lengths.setdefault(depth, len(done)) != len(done) or (not done and depth > 1):
            raise self._malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
        if self._stack:
            self._stack[-1].append(done)
        return done

    def _leaf(self) -> None:
        depth = len(self._stack)
        if self._leaf_depth not in (None, depth) or depth + 1 in self._lengths:
            raise self._malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
        self._leaf_depth = depth
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._at = quoted.end()
            self._stack[-1].append(_ESCAPED.sub(r"\1", quoted[1]))
            return
        plain = _PLAIN.match(self._text, self._at)
        if plain is None:
            raise self._malformed("Unexpected array element.")
        self._at = plain.end()
        raw = plain[0].rstrip(" \t\n\r\v\f")
        self._stack[-1].append(None if raw.upper() == "NULL" else _ESCAPED.sub(r"\1", raw))

    def _malformed(self, detail: str) -> InvalidTextRepresentation:
        return InvalidTextRepresentation(f'malformed array literal: "{self._text}"', detail=detail)
