"""Messages that differ from one that came before in their texts alone are not read again.

    SELECT max(n) FROM cpu WHERE host = 'a' AND time > '2026-01-01'
    ────────── part 0 ─────────────────── ─ ─── 2 ─── ──── 3 ─────

A message is cut at its quotes: in turn what lies outside of texts (its *shape*) and a text. Where the lexer saw it so
once (each text a plain one, each piece between two quotes a text), it sees every message of the same shape so: what it
does at a place depends on what is before it, and a text ends at the next quote. So the statement is the known one with
other texts: the lifted ones (``lifting``) are parameters, and those that stay in the statement are part of its key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tsdb.sql.lifting import MOMENT_WORD, lift
from tsdb.sql.statement import Fragment, LiftedSelect, Select, Statement, parse, split

SHAPES_MAX = 1024
CHARACTERS_MAX = 4096

K = TypeVar("K")
V = TypeVar("V")
_Shape = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """The statement's place in the message: characters before and behind it. ``lifted`` and ``fixed`` are the places
    of texts among all texts."""

    before: int
    behind: int
    lifted: tuple[int, ...]
    fixed: tuple[int, ...]


class Shapes:
    """At most ``SHAPES_MAX`` of what it knows of each sort. Any thread may ask: a race costs an entry its place."""

    def __init__(self) -> None:
        # Messages without texts.
        self._same: dict[str, tuple[Statement, ...]] = {}
        self._known: dict[_Shape, _Known] = {}
        self._templates: dict[tuple[_Shape, tuple[str, ...]], Select] = {}

    def statements(self, text: str) -> Sequence[Statement]:
        """The statements of a message. Raises SqlSyntaxError and what else ``split`` and ``parse`` raise."""
        if len(text) > CHARACTERS_MAX:
            return _read(text)
        if "'" not in text:
            return self._same.get(text) or self._kept(text)
        pieces = text.split("'")
        shape, texts = tuple(pieces[::2]), pieces[1::2]
        known = self._known.get(shape)
        found = None if known is None else self._again(text, known, shape, texts)
        if found is not None:
            return (found,)
        statements = _read(text)
        if len(statements) == 1 and isinstance(statements[0], LiftedSelect):
            self._learn(text, shape, texts, statements[0])
        return statements

    def _kept(self, text: str) -> tuple[Statement, ...]:
        statements = tuple(_read(text))
        _put(self._same, text, statements)
        return statements

    def _again(self, text: str, known: _Known, shape: _Shape, texts: Sequence[str]) -> LiftedSelect | None:
        """The statement of a message of a known shape; None for one that has to be read."""
        template = self._templates.get((shape, tuple([texts[at] for at in known.fixed])))
        if template is None:
            return None
        lifted = tuple([texts[at] for at in known.lifted])
        if any(map(MOMENT_WORD.search, lifted)):
            return None
        return LiftedSelect(Fragment(text[known.before : len(text) - known.behind], known.before), template, lifted)

    def _learn(self, text: str, shape: _Shape, texts: Sequence[str], statement: LiftedSelect) -> None:
        fragment = statement.fragment
        strings = [token for token in fragment.tokens if token.kind == "string"]
        if [token.value for token in strings] != texts or any(fragment.text[each.start] != "'" for each in strings):
            return
        lifted = lift(fragment.text, fragment.tokens)
        assert lifted is not None
        at = {token.start: place for place, token in enumerate(strings)}
        places = tuple([at[start] for start in lifted.starts])
        fixed = tuple([place for place in range(len(texts)) if place not in places])
        behind = len(text) - fragment.offset - len(fragment.text)
        _put(self._known, shape, _Known(fragment.offset, behind, places, fixed))
        _put(self._templates, (shape, tuple([texts[place] for place in fixed])), statement.template)


def _read(text: str) -> list[Statement]:
    return [parse(fragment) for fragment in split(text)]


def _put(known: dict[K, V], key: K, value: V) -> None:
    """Without a lock: whoever asks meanwhile finds it or does not."""
    if len(known) >= SHAPES_MAX:
        known.clear()
    known[key] = value


SHAPES = Shapes()
