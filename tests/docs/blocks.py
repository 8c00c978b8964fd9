"""Fenced blocks of Markdown files, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.environment import ROOT

_FENCE = re.compile(r"^```(\S*)[ ]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """An example: ``expected`` is the text block right after it, if there is one."""

    language: str
    label: str
    text: str
    expected: str | None
    line: int


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of a file in order; a ``text`` block that follows another belongs to it."""
    source = path.read_text()
    found = list(_FENCE.finditer(source))
    for fence, following in zip(found, [*found[1:], None], strict=True):
        if fence[1] == "text":
            continue
        expected = None
        if following is not None and following[1] == "text" and not source[fence.end() : following.start()].strip():
            expected = following[3]
        yield Block(fence[1], fence[2], fence[3], expected, source.count("\n", 0, fence.start()) + 1)


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
