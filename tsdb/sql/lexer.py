"""PostgreSQL's lexical structure: tokens with their positions. Pure; one pass; linear time.

Source: PostgreSQL 15 manual, 4.1 (identifiers, constants, dollar quotes, operators, nested comments), and scan.l.
``standard_conforming_strings`` is on: a backslash is an escape in E'' strings only.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tsdb.errors import SqlSyntaxError
from tsdb.sql import limits

TokenKind = Literal["word", "quoted", "string", "number", "parameter", "operator", "punctuation"]


class Token(NamedTuple):
    """A token: ``value`` is a word folded to lower case, a quoted name or string without quotes and escapes, else the
    text as written; ``start`` and ``end`` are its characters in the text, from 0."""

    kind: TokenKind
    value: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.value in words


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\n\r\f\v]+|--[^\n\r]*)
  | (?P<comment>/\*)
  | (?P<string>(?:[eE]|[bBxXnN]|[uU]&)?')
  | (?P<quoted>(?:[uU]&)?")
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
  | (?P<parameter>\$[0-9]+)
  | (?P<number>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
  | (?P<punctuation>::|:=|\.\.|[()\[\],;:.])
  | (?P<operator>(?:(?!--|/\*)[+\-*/<>=~!@\#%^&|`?])+)
    """,
    re.VERBOSE,
)
_UNUSUAL = frozenset("~!@#%^&|`?")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPED_STRING_BODY = re.compile(r"(?:[^'\\]|\\.|'')*", re.DOTALL)
_PLAIN_BODY = {"'": re.compile(r"(?:[^']|'')*"), '"': re.compile(r'(?:[^"]|"")*')}
_CONTINUATION = re.compile(r"[ \t\f\v]*(?:--[^\n\r]*)?[\n\r][ \t\n\r\f\v]*'")
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPE_CHARACTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def folded(word: str) -> str:
    """A name without quotes as PostgreSQL keeps it: in UTF-8 only ASCII letters become small (downcase_identifier)."""
    if word.isascii():
        return word.lower()
    return "".join(c.lower() if c.isascii() else c for c in word)


def tokens(text: str) -> list[Token]:
    """All tokens of a text. Raises SqlSyntaxError for what never ends or cannot start a token, StatementTooComplex for
    too many."""
    found: list[Token] = []
    position = 0
    end = len(text)
    match = _TOKEN.match
    while position < end:
        hit = match(text, position)
        if hit is None:
            raise syntax_error(text, position, position + 1)
        kind = hit.lastgroup
        if kind == "space":
            position = hit.end()
        elif kind == "comment":
            position = _comment_end(text, position)
        elif kind == "string":
            value, stop = _string(text, hit)
            found.append(Token("string", value, position, stop))
            position = stop
        elif kind == "quoted":
            value, stop = _quoted(text, hit)
            found.append(Token("quoted", value, position, stop))
            position = stop
        elif kind == "dollar":
            tag = hit.group()
            stop = text.find(tag, hit.end())
            if stop < 0:
                raise _unterminated("dollar-quoted string", text, position)
            found.append(Token("string", text[hit.end() : stop], position, stop + len(tag)))
            position = stop + len(tag)
        else:
            assert kind is not None
            word = hit.group()
            if kind == "operator":
                word = _operator(word)
            stop = position + len(word)
            found.append(Token(kind, folded(word) if kind == "word" else word, position, stop))  # type: ignore[arg-type]
            position = stop
            if len(found) > limits.MAX_TOKENS:
                limits.check_tokens(len(found))
    limits.check_tokens(len(found))
    return found


def _operator(signs: str) -> str:
    """The operator that signs begin with: one of several ends in + or - only if it has a sign that SQL's operators have
    not, so that ``x=-1`` is a comparison (4.1.3)."""
    if signs[-1] in "+-" and len(signs) > 1 and not _UNUSUAL.intersection(signs):
        return signs.rstrip("+-") or signs[0]
    return signs


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise _unterminated("/* comment", text, start)


def _string(text: str, hit: re.Match[str]) -> tuple[str, int]:
    escaped = text[hit.start()] in "eE"
    body = _ESCAPED_STRING_BODY if escaped else _PLAIN_BODY["'"]
    parts: list[str] = []
    start = hit.end()
    while True:
        inside = body.match(text, start)
        assert inside is not None
        stop = inside.end()
        if stop >= len(text):
            raise _unterminated("quoted string", text, hit.start())
        raw = inside.group().replace("''", "'")
        parts.append(_unescape(raw) if escaped else raw)
        # Two strings with a line break between them are one (4.1.2.1).
        more = _CONTINUATION.match(text, stop + 1)
        if more is None:
            return "".join(parts), stop + 1
        start = more.end()


def _quoted(text: str, hit: re.Match[str]) -> tuple[str, int]:
    inside = _PLAIN_BODY['"'].match(text, hit.end())
    assert inside is not None
    if inside.end() >= len(text):
        raise _unterminated("quoted identifier", text, hit.start())
    if not inside.group():
        raise SqlSyntaxError('zero-length delimited identifier at or near """"', position=hit.start() + 1)
    return inside.group().replace('""', '"'), inside.end() + 1


def _unescape(raw: str) -> str:
    def character(hit: re.Match[str]) -> str:
        octal, hexadecimal, short, long, other = hit.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        if hexadecimal or short or long:
            code = int(hexadecimal or short or long, 16)
            return chr(code) if code <= 0x10FFFF else "\ufffd"
        return _ESCAPE_CHARACTERS.get(other, other)

    return _ESCAPE.sub(character, raw)


def unicode_text(raw: str, escape: str, start: int) -> str:
    """The text of ``U&'…'`` (4.1.2.3): ``escape`` and 4 digits, or + and 6 digits. Raises SqlSyntaxError."""
    mark = re.escape(escape)
    pattern = re.compile(f"{mark}(?:({mark})|([0-9A-Fa-f]{{4}})|\\+([0-9A-Fa-f]{{6}})|)")

    def character(hit: re.Match[str]) -> str:
        doubled, short, long = hit.groups()
        if doubled:
            return escape
        if not short and not long:
            raise SqlSyntaxError("invalid Unicode escape", hint=r"Unicode escapes must be \XXXX or \+XXXXXX.",
                                 position=start + 1)  # fmt: skip
        code = int(short or long, 16)
        if not 0 < code <= 0x10FFFF:
            raise SqlSyntaxError("invalid Unicode escape value", position=start + 1)
        return chr(code)

    try:
        # Two surrogates are one character.
        return pattern.sub(character, raw).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise SqlSyntaxError("invalid Unicode surrogate pair", position=start + 1) from None


def syntax_error(text: str, start: int, end: int) -> SqlSyntaxError:
    """PostgreSQL's text for a token that does not fit; past the last one it is the end of input."""
    near = text[start : min(end, start + limits.MAX_SHOWN)]
    if not near.strip():
        return SqlSyntaxError("syntax error at end of input", position=len(text) + 1)
    return SqlSyntaxError(f'syntax error at or near "{near}"', position=start + 1)


def _unterminated(what: str, text: str, start: int) -> SqlSyntaxError:
    return SqlSyntaxError(f'unterminated {what} at or near "{text[start : start + 100]}"', position=start + 1)
