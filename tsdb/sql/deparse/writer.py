"""Text with PostgreSQL's line breaks and indentation. Source: PostgreSQL 15, ruleutils.c (appendContextKeyword)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

STEP, JOIN_STEP, PART_STEP = 8, 4, 4
_LIMIT = 40
FormatType = Callable[[int, int], str]
Quote = Callable[[str], str]


@dataclass(slots=True)
class Writer:
    """``pretty``: no parentheses that precedence does without. ``qualified``: columns with their tables.
    ``indented``: clauses on lines of their own. ``taken``: names of ranges that queries inside cannot have."""

    format_type: FormatType
    quote: Quote
    pretty: bool
    qualified: bool = True
    indented: bool = True
    level: int = 0
    taken: frozenset[str] = frozenset()
    parts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.parts.append(text)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def cut_spaces(self) -> None:
        self.parts = [self.text.rstrip(" ")]

    def keyword(self, text: str, before: int, after: int, more: int) -> None:
        """``text`` on a line of its own, with the level changed before and after it."""
        if not self.indented:
            self.add(text)
            return
        self.level += before
        self.cut_spaces()
        if self.level < _LIMIT:
            amount = max(self.level, 0) + more
        else:
            amount = (_LIMIT + (self.level - _LIMIT) // (STEP // 2)) % _LIMIT + more
        self.add("\n" + " " * amount + text)
        self.level = max(self.level + after, 0)

    def apart(self, write: Callable[[], None]) -> str:
        """What ``write`` adds, without adding it."""
        kept, self.parts = self.parts, []
        write()
        made, self.parts = self.text, kept
        return made
