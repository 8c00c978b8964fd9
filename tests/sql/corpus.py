"""The statements that are compared with PostgreSQL: one a line, by topic, in ``fixtures/select``.

A line that begins with no query word is a select list. ``-- differs: name`` before a line says that PostgreSQL answers
otherwise, for the reason that ``docs/sql.md`` gives under that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.sql.answers import ask
from tests.sql.memory_view import MemoryView
from tsdb.sql.query import Queries

DIRECTORY = Path(__file__).parent / "fixtures" / "select"
_DIFFERS = "-- differs: "
_QUERY_WORDS = ("select ", "with ", "values ", "table ")


@dataclass(frozen=True, slots=True)
class Case:
    text: str
    topic: str
    differs: str = ""

    @property
    def ordered(self) -> bool:
        """Whether the statement says in which order its rows come."""
        return " order by " in self.text.lower().rpartition(")")[2]


def cases() -> Iterator[Case]:
    for path in sorted(DIRECTORY.glob("*.sql")):
        differs = ""
        for line in path.read_text().splitlines():
            if line.startswith(_DIFFERS):
                differs = line.removeprefix(_DIFFERS).strip()
            elif line and not line.startswith("--"):
                text = line if line.lower().startswith(_QUERY_WORDS) else f"SELECT {line}"
                yield Case(text, path.stem, differs)
                differs = ""


def load(connection: psycopg.Connection[tuple[object, ...]], queries: Queries, view: MemoryView) -> None:
    """cpu and mem with their rows; PostgreSQL has no hidden columns, so ``sequence`` is an ordinary last one."""
    for name in ("cpu", "mem"):
        columns, rows = ask(queries, view, f"select *, sequence from {name}")
        definitions = ", ".join(f'"{c.name}" {c.type.name}{_modifier(c.type.typname, c.typmod)}' for c in columns)
        connection.execute(f"CREATE TABLE {name} ({definitions})")
        with connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _modifier(typname: str, typmod: int) -> str:
    return f"({(typmod - 4) >> 16},{(typmod - 4) & 0x7FF})" if typname == "numeric" and typmod >= 0 else ""
