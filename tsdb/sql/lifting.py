"""Statements that differ only in the texts they compare with are one statement with parameters.

A dashboard asks the same again and again with other bounds of time. Which texts are lifted is seen by tokens alone: a
quarter of the time that parsing takes. What the parameters make of the statement is for ``templates`` to find out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tsdb.sql.lexer import Token

_COMPARISONS = frozenset(("=", "<", ">", "<=", ">=", "<>", "!="))
# Words that are read by the clock.
MOMENT_WORD = re.compile(r"\b(?:now|today|tomorrow|yesterday)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Lifted:
    """A statement's text with $1, $2 … in place of ``texts``, which begin at ``starts`` in it."""

    text: str
    texts: tuple[str, ...]
    starts: tuple[int, ...]


def lift(text: str, tokens: Sequence[Token]) -> Lifted | None:
    """The statement with the texts behind comparisons, BETWEEN and in lists of IN as parameters; None when it has none,
    has parameters of its own, or one of them is read by the clock."""
    places: list[Token] = []
    # What may come next: the second text of BETWEEN, or another item of a list.
    between = in_list = False
    before, before_that = "", ""
    for token in tokens:
        if token.kind == "parameter":
            return None
        if token.kind == "string" and text[token.start] == "'":
            behind = before in _COMPARISONS or before == "between" or (between and before == "and")
            in_list = (before == "(" and before_that == "in") or (in_list and before == ",")
            if behind or in_list:
                if MOMENT_WORD.search(token.value):
                    return None
                places.append(token)
            between = before == "between"
            before, before_that = "'", before
            continue
        if token.kind == "quoted" or token.value not in (",", "and"):
            in_list = between = False
        before, before_that = ("" if token.kind in ("quoted", "string") else token.value), before
    return _replaced(text, places) if places else None


def _replaced(text: str, places: Sequence[Token]) -> Lifted:
    parts: list[str] = []
    at = 0
    for number, token in enumerate(places, 1):
        parts += (text[at : token.start], f" ${number} ")
        at = token.end
    parts.append(text[at:])
    return Lifted("".join(parts), tuple(token.value for token in places), tuple(token.start for token in places))
