"""What a selection from one scan gives, in terms of the scan's columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tsdb.sql.expressions.expression import Expr
from tsdb.sql.selection.matches import FieldMatch

Values = Callable[[Expr], object]


@dataclass(frozen=True, slots=True)
class ScanSelection:
    """``outputs`` are the select list, as keys of the scan's columns. ``matches`` make conditions on single fields, all
    of which hold, once the values are known; they raise Undecided. ``limit`` and ``offset`` None: all rows."""

    outputs: tuple[int | str, ...]
    matches: tuple[Callable[[Values], FieldMatch], ...]
    limit: Expr | None
    offset: Expr | None

    def columns(self, matches: tuple[FieldMatch, ...]) -> tuple[int | str, ...]:
        """What the scan reads: the select list, each column once, then what only conditions read."""
        return tuple(dict.fromkeys((*self.outputs, *(match.column for match in matches))))
