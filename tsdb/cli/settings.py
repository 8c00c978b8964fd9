"""The table of settings for people: on a terminal, and as the Markdown that docs/operating.md holds."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tsdb.config import TABLE, Entry


def show() -> None:
    """Print the table to standard output."""
    table = Table(title="Settings of tsdb start", title_justify="left")
    for heading in ("setting", "default", "bounds", "meaning"):
        table.add_column(heading, no_wrap=heading == "setting")
    for entry in TABLE:
        cells = (entry.name, entry.text(entry.default), entry.bounds, entry.meaning)
        table.add_row(*(Text(cell) for cell in cells))  # a meaning may have brackets, which are markup to rich
    console = Console()
    console.print(table)
    console.print("As a flag: --pg-port 5433; in the environment: TSDB_PG_PORT=5433; in the file: pg_port = 5433")


def as_markdown() -> str:
    """The same table, one line a setting."""
    lines = ["| setting | flag | environment | default | bounds | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [_line(entry) for entry in TABLE]
    return "\n".join(lines)


def _line(entry: Entry) -> str:
    cells = (
        f"`{entry.name}`",
        f"`{entry.flag}`",
        f"`{entry.variable}`",
        f"`{entry.text(entry.default)}`" if entry.default is not None else "",
        entry.bounds,
        entry.meaning,
    )
    return "| " + " | ".join(cells) + " |"
