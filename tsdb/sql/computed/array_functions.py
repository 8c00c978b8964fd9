"""Arrays and rows by their texts. Source: PostgreSQL 15 manual, 8.15, 8.16.5 and 9.19; arrayfuncs.c, rowtypes.c."""

from __future__ import annotations

import re

from tsdb.sql.array_text import parse
from tsdb.sql.computed.registry import computed

_QUOTED_FIELD = re.compile(r'[\s(),"\\]')


@computed("py_array_items", "VARCHAR", result="VARCHAR[]")
def items(text: str) -> list[str | None]:
    """The elements of an array's text. Raises InvalidTextRepresentation."""
    return parse(text)


@computed("py_row_text", "VARCHAR[]", result="VARCHAR")
def row_text(fields: list[str | None]) -> str:
    """The text of a row: ``(1,"a b",)``, where NULL is nothing."""
    return "(" + ",".join("" if f is None else _field(f) for f in fields) + ")"


def _field(text: str) -> str:
    if text and not _QUOTED_FIELD.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


@computed("py_split", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR[]", strict=False)
def string_to_array(text: str | None, delimiter: str | None, null: str | None) -> list[str | None] | None:
    """string_to_array: no delimiter gives the characters, an empty one the text; what equals ``null`` is NULL."""
    if text is None:
        return None
    if not text:
        return []
    parts = list(text) if delimiter is None else [text] if not delimiter else text.split(delimiter)
    return [None if part == null else part for part in parts]
