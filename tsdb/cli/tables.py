"""Results of SQL statements as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

ROWS_SHOWN_MAX = 10_000


def print_result(console: Console, cursor: psycopg.Cursor[Any], seconds: float, rows_max: int = ROWS_SHOWN_MAX) -> None:
    """Print what the cursor's current result holds, at most ``rows_max`` rows, and how long it took."""
    took = f"{seconds * 1000:.1f} ms"
    if cursor.description is None:
        if cursor.statusmessage is None:  # an empty statement
            return
        console.print(Text(f"{cursor.statusmessage} ({took})"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = cursor.fetchmany(rows_max)
    for i, column in enumerate(cursor.description):
        numeric = any(isinstance(row[i], (int, float, Decimal)) and not isinstance(row[i], bool) for row in rows)
        table.add_column(Text(column.name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    console.print(table)
    more = cursor.rowcount - len(rows)
    count = "1 row" if cursor.rowcount == 1 else f"{cursor.rowcount} rows"
    console.print(Text(f"{count}{f', {more} not shown' if more > 0 else ''} ({took})"), style="dim")


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Rows as columns of plain text, for terminals and for programs that cut at spaces."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)
