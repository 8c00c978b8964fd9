"""RowDescriptions that are kept are those that would be made."""

from __future__ import annotations

import psycopg

from tsdb.session.described import DESCRIPTIONS_MAX, Descriptions
from tsdb.sql.result import ResultColumn
from tsdb.types import INT8, TEXT
from tsdb.wire import FieldDescription
from tsdb.wire.backend import row_description


def test_each_tuple_of_columns_has_its_own_description_in_each_format_and_encoding() -> None:
    kept = Descriptions()
    for _ in range(2):
        for names in (("a", "é"), ("a", "b")):
            columns = tuple(ResultColumn(name, kind, 7, 11, 2) for name, kind in zip(names, (INT8, TEXT), strict=True))
            for formats in ((0, 0), (1, 0)):
                for codec in ("utf-8", "latin-1"):
                    expected = row_description(
                        [
                            FieldDescription(name, kind, code, 11, 2, 7)
                            for name, kind, code in zip(names, (INT8, TEXT), formats, strict=True)
                        ],
                        codec,
                    )
                    for _ in range(2):
                        assert kept.of(columns, formats, codec) == expected


def test_so_many_are_kept_and_no_more() -> None:
    kept = Descriptions()
    for number in range(DESCRIPTIONS_MAX + 10):
        columns = (ResultColumn(f"c{number}", INT8),)
        assert f"c{number}".encode() in kept.of(columns, (0,), "utf-8")
    assert len(kept) == DESCRIPTIONS_MAX


def test_a_column_that_is_renamed_is_described_by_its_new_name(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS renamed (time timestamptz, host text TAG, v int8)")
    names = []
    for new in ("w", "v"):
        for prepare in (False, True):
            found = connection.execute("SELECT * FROM renamed", prepare=prepare)
            names.append(found.description[2].name if found.description else "")
        connection.execute(f"ALTER TABLE renamed RENAME COLUMN {names[-1]} TO {new}".encode())
    assert names == ["v", "v", "w", "w"]
