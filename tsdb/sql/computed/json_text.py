"""JSON texts: json keeps the text as it came, jsonb a canonical one.

jsonb's text: one blank after colons and commas, keys once (the last wins) sorted by length and then by bytes, numbers
as numeric writes them. A value in Python: dict, list, str, Decimal, bool, None.

Source: PostgreSQL 15 manual, 8.14; jsonb.c, jsonb_util.c (lengthCompareJsonbStringValue).
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from tsdb.errors import InvalidTextRepresentation

DEPTH_MAX = 500
_BLANKS = re.compile(r"[ \t\n\r]*")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _number(text: str) -> Decimal:
    value = Decimal(text)
    return value.copy_abs() if value.is_zero() else value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_no_constant)


def invalid(text: str, name: str = "json") -> InvalidTextRepresentation:
    return InvalidTextRepresentation(f"invalid input syntax for type {name}", detail=f'The input is "{text[:100]}".')


def parse(text: str, name: str = "json") -> Any:
    """The value of a JSON text. Raises InvalidTextRepresentation."""
    try:
        value, end = _DECODER.raw_decode(text, _BLANKS.match(text).end())  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        raise invalid(text, name) from None
    if text[end:].strip(" \t\n\r"):
        raise invalid(text, name)
    return value


def sort_key(key: str) -> tuple[int, bytes]:
    octets = key.encode(errors="surrogatepass")
    return len(octets), octets


def write(value: Any) -> str:
    """jsonb's text of a value."""
    if isinstance(value, dict):
        inner = ", ".join(f"{quote(k)}: {write(value[k])}" for k in sorted(value, key=sort_key))
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    return f"{value:f}"


def compact(value: Any) -> str:
    """json's text of a value without blanks, keys in their order."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(k)}:{compact(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return scalar(value)


def quote(text: str) -> str:
    """A JSON string (escape_json in json.c)."""
    return '"' + _ESCAPED.sub(lambda m: _SHORT.get(m[0]) or f"\\u{ord(m[0]):04x}", text) + '"'


def canonical(text: str) -> str:
    """The jsonb text of a JSON text. Raises InvalidTextRepresentation."""
    value = parse(text)
    made = write(value)
    if "\x00" in made:
        raise InvalidTextRepresentation(
            "unsupported Unicode escape sequence", detail="\\u0000 cannot be converted to text."
        )
    try:
        made.encode()
    except UnicodeEncodeError:
        raise invalid(text) from None
    return made


def members(text: str) -> list[tuple[str, str]]:
    """(key, raw text of the value) of a json object, in its order."""
    at = _skip(text, 0)
    found: list[tuple[str, str]] = []
    if text[at] != "{":
        return found
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = json.decoder.scanstring(text, at + 1, True)  # type: ignore[attr-defined]
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        found.append((key, text[start:end]))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def elements(text: str) -> list[str]:
    """The raw texts of a json array's elements."""
    at = _skip(text, 0)
    found: list[str] = []
    if text[at] != "[":
        return found
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append(text[at:end])
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]
