"""PostgreSQL's regular expressions as RE2's, which DuckDB runs in linear time.

RE2 has no back references and no lookaround; they are refused. Where alternatives overlap, RE2 takes the first that
fits and PostgreSQL the longest. Line breaks are ordinary characters to ``^``, ``$`` and ``.`` unless a flag says so.

Source: PostgreSQL 15 manual, 9.7.3 (regular expression details, tables 9.16 to 9.25).
"""

from __future__ import annotations

import re

from tsdb.errors import FeatureNotSupported, InvalidParameterValue
from tsdb.sql.computed.registry import computed

_ESCAPES = {"m": r"\b", "M": r"\b", "y": r"\b", "Y": r"\B", "Z": r"\z", "B": r"\\", "e": r"\x1b"}
_FLAGS = frozenset("bcegimnpqstwx")
_OPTIONS = re.compile(r"\(\?([bceimnpqstwx]+)\)")
_UNICODE = re.compile(r"u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")


@computed("py_regex", "VARCHAR", "VARCHAR", result="VARCHAR")
def to_re2(pattern: str, flags: str) -> str:
    """The RE2 text of a pattern with its flags (g is the caller's). Raises FeatureNotSupported for what RE2 has not."""
    wrong = [f for f in flags if f not in _FLAGS]
    if wrong:
        raise InvalidParameterValue(f'invalid regular expression option: "{wrong[0]}"')
    options = _OPTIONS.match(pattern)
    if options is not None:
        flags, pattern = flags + options[1], pattern[options.end() :]
    if pattern.startswith("***="):
        return re.escape(pattern[4:])
    if "q" in flags:
        return _prefix("i" if "i" in flags else "") + re.escape(pattern)
    body, dotted = _body(pattern.removeprefix("***:"), expanded="x" in flags)
    chosen = "i" if _last(flags, "ic") == "i" else ""
    lines = _last(flags, "nmpws")
    if lines in ("n", "m", "w"):
        chosen += "m"
    if dotted and lines not in ("n", "m", "p"):
        chosen += "s"
    return _prefix(chosen) + body


def _prefix(options: str) -> str:
    return f"(?{options})" if options else ""


def _last(flags: str, among: str) -> str:
    return next((f for f in reversed(flags) if f in among), "")


def _body(pattern: str, *, expanded: bool) -> tuple[str, bool]:
    """(the translated pattern, whether a dot stands in it)."""
    parts: list[str] = []
    at, dotted = 0, False
    while at < len(pattern):
        here = pattern[at]
        if here == "\\":
            text, at = _escape(pattern, at + 1)
            parts.append(text)
        elif here == "[":
            text, at = _bracket(pattern, at)
            parts.append(text)
        elif here == "(" and re.match(r"\(\?<?[=!]", pattern[at : at + 4]):
            raise FeatureNotSupported("lookahead and lookbehind are not supported in regular expressions")
        elif expanded and (here.isspace() or here == "#"):
            end = pattern.find("\n", at) if here == "#" else at
            at = len(pattern) if end < 0 else end + 1
        else:
            dotted = dotted or here == "."
            parts.append(here)
            at += 1
    return "".join(parts), dotted


def _escape(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        return "\\", at
    here = pattern[at]
    unicode = _UNICODE.match(pattern, at)
    if unicode is not None:
        return f"\\x{{{unicode[1] or unicode[2]}}}", unicode.end()
    if here in "123456789":
        raise FeatureNotSupported("back references are not supported in regular expressions")
    return _ESCAPES.get(here, "\\" + here), at + 1


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    """A bracket expression; ``[[:<:]]`` and ``[[:>:]]`` are word boundaries."""
    for mark in ("[[:<:]]", "[[:>:]]"):
        if pattern.startswith(mark, at):
            return r"\b", at + len(mark)
    end = at + 1
    if pattern[end : end + 1] == "^":
        end += 1
    if pattern[end : end + 1] == "]":
        end += 1
    while end < len(pattern) and pattern[end] != "]":
        if pattern[end] == "\\":
            end += 1
        elif pattern[end : end + 2] in ("[:", "[.", "[="):
            close = pattern.find(pattern[end + 1] + "]", end + 2)
            end = len(pattern) if close < 0 else close + 1
        end += 1
    return pattern[at : end + 1], end + 1


def groups(pattern: str) -> int:
    """How many capturing groups an RE2 pattern has."""
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]", "", pattern, flags=re.DOTALL)
    return len(re.findall(r"\((?!\?)|\(\?P?<[^=!]", bare))


@computed("py_replacement", "VARCHAR", result="VARCHAR")
def replacement(text: str) -> str:
    """regexp_replace's replacement for RE2: ``\\&`` is the match, any other backslash itself."""
    return re.sub(
        r"\\(.?)",
        lambda m: r"\0" if m[1] == "&" else m[0] if m[1] and m[1] in "123456789\\" else "\\\\" + m[1],
        text,
        flags=re.DOTALL,
    )
