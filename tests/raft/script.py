"""The grammar of data-driven test files: a command line, input lines, ``----``, the expected output, a blank line.

The output may be fenced by ``----`` ``----`` twice when it has blank lines of its own. ``rewritten`` gives the file
with other outputs, everything else as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Command:
    """One step of a script."""

    line: str
    number: int
    """Of its line in the file, from 1."""
    input: str
    expected: str
    name: str = ""
    words: list[str] = field(default_factory=list)
    """Arguments without a key."""
    options: dict[str, list[str]] = field(default_factory=dict)
    """Arguments ``key=value`` and ``key=(value, …)``."""

    def __post_init__(self) -> None:
        self.name, *arguments = re.findall(r"[^\s=()]+=\([^)]*\)|[^\s]+", self.line)
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if not equals:
                self.words.append(key)
            else:
                self.options[key] = [part.strip() for part in value.strip("()").split(",") if part.strip()]

    def numbers(self, key: str) -> list[int]:
        """``key=zero``: none, and yet the key is there."""
        return [int(value) for value in self.options.get(key, ()) if value != "zero"]

    def number_of(self, key: str, default: int) -> int:
        return int(self.options[key][0]) if key in self.options else default

    def flag(self, key: str) -> bool:
        return self.options.get(key, ["false"]) == ["true"]


def parse(path: Path) -> Iterator[Command]:
    lines = path.read_text().split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip() or line.startswith("#"):
            at += 1
            continue
        start = at
        at += 1
        given: list[str] = []
        while lines[at] != "----":
            given.append(lines[at])
            at += 1
        at += 1
        fenced = lines[at] == "----"
        expected: list[str] = []
        at += fenced
        while at < len(lines) and (lines[at : at + 2] != ["----", "----"] if fenced else lines[at] != ""):
            expected.append(lines[at])
            at += 1
        at += 2 * fenced
        yield Command(line, start + 1, "\n".join(given), "\n".join(expected))


def rewritten(path: Path, outputs: dict[int, str]) -> str:
    """The file's text with the output of the command at each line number replaced."""
    lines = path.read_text().split("\n")
    text: list[str] = []
    at = 0
    for command in parse(path):
        text += lines[at : command.number - 1]
        text += [command.line, *command.input.split("\n")] if command.input else [command.line]
        text += ["----", *outputs[command.number].rstrip("\n").split("\n")]
        at = command.number + len(command.input.split("\n")) * bool(command.input)
        at += 1 + len(command.expected.split("\n")) * bool(command.expected)
    return "\n".join(text + lines[at:])
