"""Where the clauses of a SELECT are in the text that the binder wrote for DuckDB."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_LITERAL = re.compile(r"('(?:[^']|'')*')")
_SETS = (" UNION ", " INTERSECT ", " EXCEPT ")
_AFTER_WHERE = (" GROUP BY ", " HAVING ", " ORDER BY ", " LIMIT ", " OFFSET ")


class SelectText(NamedTuple):
    """``before`` and ``after`` are what stands around the SELECT, ``head`` its select list, ``tail`` what comes behind
    WHERE."""

    before: str
    head: str
    tail: str
    after: str


def select_of(sql: str, origin: str) -> SelectText | None:
    """The SELECT whose FROM is ``origin`` and nothing else; None where there is not just one, or a set operation."""
    at = sql.find(origin)
    rest = at + len(origin)
    alone = rest == len(sql) or sql.startswith((")", " WHERE ", *_AFTER_WHERE), rest)
    if at < 0 or sql.find(origin, at + 1) >= 0 or not alone:
        return None
    starts, begin, depth, tail, end = [-1], -1, -1, -1, len(sql)
    for i in _outside_literals(sql):
        if i == at:
            begin, depth = starts[-1], len(starts)
        if sql[i] == "(":
            starts.append(-1)
        elif sql[i] == ")":
            if len(starts) == depth:
                end = i
                break
            starts.pop()
        elif sql.startswith("SELECT ", i):
            starts[-1] = i
        elif len(starts) == depth and sql.startswith(_SETS, i):
            return None
        elif tail < 0 and i >= rest and len(starts) == depth and sql.startswith(_AFTER_WHERE, i):
            tail = i
    if begin < 0:
        return None
    tail = end if tail < 0 else tail
    return SelectText(sql[:begin], sql[begin:at], sql[tail:end], sql[end:])


def _outside_literals(sql: str) -> list[int]:
    """The places of a text that are in no literal and in no quoted name."""
    places: list[int] = []
    quote = ""
    for i, character in enumerate(sql):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            places.append(i)
    return places


def without_literals(text: str) -> str:
    return _LITERAL.sub("''", text)


def outside_literals(text: str, change: Callable[[str], str]) -> str:
    """A text with all but its literals changed."""
    return "".join(part if i % 2 else change(part) for i, part in enumerate(_LITERAL.split(text)))
