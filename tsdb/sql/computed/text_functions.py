"""format(), names, and unistr. Source: PostgreSQL 15 manual, 9.4 and 9.4.1; varlena.c (text_format), misc.c."""

from __future__ import annotations

import re
import unicodedata

from tsdb.errors import InvalidParameterValue, TsdbError
from tsdb.sql.computed.registry import computed
from tsdb.sql.lexer import unicode_text

_SPECIFIER = re.compile(r"%(?:(\d+)\$)?(-?)(?:(\d+)|\*(?:(\d+)\$)?(?=[^\d]))?(.?)", re.DOTALL)
_STAR = re.compile(r"%(?:\d+\$)?-?\*")
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*")
_IDENTIFIER = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*))\s*(\.|$)')
WIDTH_MAX = 1_048_576

# Keywords that are no plain column name: reserved, column name and type or function name (kwlist.h of PostgreSQL 15).
_RESERVED_WORDS = """
all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc distinct
do else end except false fetch for foreign from grant group having in initially intersect into lateral leading limit
localtime localtimestamp not null offset on only or order placing primary references returning select session_user
some symmetric table then to trailing true union unique user using variadic when where window with authorization
binary collation concurrently cross current_schema freeze full ilike inner is isnull join left like natural notnull
outer overlaps right similar tablesample verbose between bigint bit boolean char character coalesce dec decimal exists
extract float greatest grouping inout int integer interval least national nchar none normalize nullif numeric out
overlay position precision real row setof smallint substring time timestamp treat trim values varchar xmlattributes
xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
RESERVED = frozenset(_RESERVED_WORDS.split())


class NullValueNotAllowed(TsdbError):
    sqlstate = "22004"


@computed("py_quote_ident", "VARCHAR", result="VARCHAR")
def quote_ident(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted


@computed("py_format", "VARCHAR", "VARCHAR[]", result="VARCHAR", strict=False)
def format_text(pattern: str | None, arguments: list[str | None]) -> str | None:
    """format(pattern, arguments…): %s, %I and %L, with positions and widths."""
    if pattern is None:
        return None
    used = 0

    def take(position: str | None) -> str | None:
        nonlocal used
        index = int(position) if position else used + 1
        if index == 0:
            raise InvalidParameterValue("format specifies argument 0, but arguments are numbered from 1")
        used = index
        if index > len(arguments):
            raise InvalidParameterValue("too few arguments for format()")
        return arguments[index - 1]

    def write(found: re.Match[str]) -> str:
        position, minus, width_text, width_position, kind = found.groups()
        if kind == "%" and found[0] == "%%":
            return "%"
        if not kind:
            raise InvalidParameterValue("unterminated format() type specifier", hint='For a single "%" use "%%".')
        if kind not in "sIL":
            raise InvalidParameterValue(
                f'unrecognized format() type specifier "{kind}"', hint='For a single "%" use "%%".'
            )
        left, width = bool(minus), int(width_text or 0)
        if _STAR.match(found[0]):
            width = int(take(width_position) or 0)
            left, width = left or width < 0, abs(width)
        if width > WIDTH_MAX:
            raise InvalidParameterValue("number is out of range")
        text = _converted(kind, take(position))
        return text.ljust(width) if left else text.rjust(width)

    return _SPECIFIER.sub(write, pattern)


def _converted(kind: str, value: str | None) -> str:
    if kind == "s":
        return value or ""
    if kind == "L":
        return "NULL" if value is None else quote_literal(value)
    if value is None:
        raise NullValueNotAllowed("null values cannot be formatted as an SQL identifier")
    made: str = quote_ident(value)
    return made


@computed("py_parse_ident", "VARCHAR", "BOOLEAN", result="VARCHAR[]")
def parse_ident(text: str, strict: bool) -> list[str]:
    """The parts of a qualified name, folded as SQL folds them."""
    parts: list[str] = []
    at = 0
    while True:
        found = _IDENTIFIER.match(text, at)
        if found is None:
            trailing = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*))').match(text, at)
            if strict or trailing is None:
                raise InvalidParameterValue(f'string is not a valid identifier: "{text}"')
            quoted, plain = trailing.groups()
            return [*parts, quoted.replace('""', '"') if quoted else plain.lower()]
        quoted, plain, end = found.groups()
        parts.append(quoted.replace('""', '"') if quoted else plain.lower())
        at = found.end()
        if not end:
            return parts


@computed("py_unistr", "VARCHAR", result="VARCHAR")
def unistr(text: str) -> str:
    plain = re.sub(r"\\u([0-9A-Fa-f]{4})", r"\\\1", re.sub(r"\\U00([0-9A-Fa-f]{6})", r"\\+\1", text))
    return unicode_text(plain, "\\", 0)


@computed("py_normalize", "VARCHAR", "VARCHAR", result="VARCHAR")
def normalized(text: str, form: str) -> str:
    if form.upper() not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise InvalidParameterValue(f"invalid normalization form: {form}")
    return unicodedata.normalize(form.upper(), text)  # type: ignore[arg-type]
