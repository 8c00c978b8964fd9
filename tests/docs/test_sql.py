"""Every example of docs/sql.md and docs/timeseries.md runs, in order, and prints what the document says.

A ``sql`` block is one or more statements; the ``text`` block after it is the last result: names of columns, a rule, and
rows with cells in PostgreSQL's text form. A block labelled ``error`` fails, and its text is ``SQLSTATE message``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.docs.blocks import Block, blocks
from tests.fixtures.environment import ROOT

if TYPE_CHECKING:
    from tsdb.server import Server

DOCUMENTS = ("sql.md", "timeseries.md")


def printed(cursor: psycopg.ClientCursor[tuple[object, ...]]) -> list[list[str]]:
    """The last result in text form: names, then rows."""
    while cursor.nextset():
        pass
    result = cursor.pgresult
    assert result is not None
    if cursor.description is None:
        return [[cursor.statusmessage or ""]]
    rows = [
        [(result.get_value(row, column) or b"").decode() for column in range(result.nfields)]
        for row in range(result.ntuples)
    ]
    return [[column.name for column in cursor.description], *rows]


def expected(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip() and set(line) - set("-+ ")]
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def run(connection: psycopg.Connection, block: Block) -> None:
    cursor = psycopg.ClientCursor(connection)
    if block.label == "error":
        with pytest.raises(psycopg.Error) as caught:
            cursor.execute(block.text.encode())
        primary = caught.value.diag.message_primary
        assert f"{caught.value.sqlstate} {primary}" == (block.expected or "").strip(), f"line {block.line}"
        return
    try:
        cursor.execute(block.text.encode())
    except psycopg.Error as error:
        raise AssertionError(f"line {block.line}: {error.sqlstate} {error}") from error
    if block.expected is not None:
        assert printed(cursor) == expected(block.expected), f"line {block.line}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_example_prints_what_the_document_says(server: Server, document: str) -> None:
    examples = [block for block in blocks(ROOT / "docs" / document) if block.language == "sql"]
    with psycopg.connect(server.pg_url, user="tsdb", autocommit=True) as connection:
        for block in examples:
            run(connection, block)
    assert len(examples) > 10
