"""One-dimensional arrays in PostgreSQL's text form: ``{1,NULL,"a b"}``.

Source: PostgreSQL 15 manual, 8.15.6 (array input and output syntax).
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import InvalidTextRepresentation

# An element that needs quotes: empty, the word NULL, or with a character that means something.
_QUOTED = r'(?i)^$|^null$|[ \t\n\r\v\f{},"\\]'
_ELEMENT = re.compile(
    r'[ \t\n\r\v\f]*(?:"((?:[^"\\]|\\.)*)"|((?:[^"\\{}, \t\n\r\v\f]|\\.)(?:[^"\\{},]|\\.)*))[ \t\n\r\v\f]*(,|\})',
    re.DOTALL,
)
_SPACES = " \t\n\r\v\f"
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def join(lists: pa.Array, elements: pa.Array) -> pa.Array:
    """The text of each list; ``elements`` are the texts of ``lists.flatten()``, null for a NULL element."""
    escaped = pc.replace_substring(pc.replace_substring(elements, "\\", "\\\\"), '"', '\\"')
    quoted = pc.binary_join_element_wise('"', escaped, '"', "")
    texts = pc.if_else(pc.match_substring_regex(elements, _QUOTED), quoted, elements).fill_null("NULL")
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets_of(lists), texts, mask=lists.is_null()), ",")
    return pc.binary_join_element_wise("{", joined, "}", "")


def offsets_of(lists: pa.Array) -> pa.Array:
    """Where each list begins in ``lists.flatten()``, and the end of the last: NULL lists hold nothing."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def split(texts: pa.Array) -> pa.Array:
    """The lists of text that array texts spell. Raises InvalidTextRepresentation."""
    encoded = texts.dictionary_encode()
    lists = [None if text is None else parse(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(lists, pa.list_(pa.string())).take(encoded.indices)


def parse(text: str) -> list[str | None]:
    """The elements of one array text."""
    body = text.strip(_SPACES)
    if not body.startswith("{") or not body.endswith("}"):
        raise InvalidTextRepresentation(
            f'malformed array literal: "{text}"', detail='Array value must start with "{" or dimension information.'
        )
    if not body[1:-1].strip(_SPACES):
        return []
    elements: list[str | None] = []
    position = 1
    while position < len(body):
        found = _ELEMENT.match(body, position)
        if found is None:
            raise InvalidTextRepresentation(f'malformed array literal: "{text}"')
        quoted, bare, end = found.groups()
        if quoted is not None:
            elements.append(_ESCAPED.sub(r"\1", quoted))
        else:
            bare = bare.rstrip(_SPACES)
            elements.append(None if bare.upper() == "NULL" else _ESCAPED.sub(r"\1", bare))
        position = found.end()
        if end == "}" and position != len(body):
            raise InvalidTextRepresentation(f'malformed array literal: "{text}"')
    return elements
