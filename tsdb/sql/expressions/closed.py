"""Whether a text that the binder wrote for DuckDB is one thing, whatever stands around it."""

from __future__ import annotations

import re

_BEGINS = re.compile(r"\w*\(|CASE ")
_PARTS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|\b(?:CASE|END)\b""")
_DEPTH = {"(": 1, "CASE": 1, ")": -1, "END": -1}


def is_closed(sql: str) -> bool:
    """Is it all in one pair of parentheses, one call of a function or one CASE?"""
    if not _BEGINS.match(sql):
        return False
    depth = 0
    for part in _PARTS.finditer(sql):
        depth += _DEPTH.get(part[0], 0)
        if not depth and part[0] in _DEPTH:
            return part.end() == len(sql)
    return False
