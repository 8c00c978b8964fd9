"""A slow parser of line protocol, written from the table of the design's ingest chapter and from nothing else.

It matches whole lines with regular expressions whose repetitions are possessive, so that nothing is read in a second
way. ``parse`` of the product must accept the same lines with the same values.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from tsdb.ingest.faults import Limits
from tsdb.types import Kind

_LINE_END = rb"(?:\r?\n|\r?\Z)"
_NOT_END = rb"(?!" + _LINE_END + rb")"
_MEASUREMENT = rb"(?:\\[, ]|" + _NOT_END + rb"[^, \n])++"
_NAME = rb"(?:\\[,= ]|" + _NOT_END + rb"[^,= \n])++"
_STRING = rb'"(?:\\["\\]|[^"])*+"'
_BARE = rb"(?!\")(?:" + _NOT_END + rb"[^, \n])++"
_FIELD = _NAME + rb"=(?:" + _STRING + rb"|" + _BARE + rb")"
_LINE = re.compile(
    rb"(" + _MEASUREMENT + rb")((?:," + _NAME + rb"=" + _NAME + rb")*+) ++"
    rb"(" + _FIELD + rb"(?:," + _FIELD + rb")*+)(?: ++(-?+[0-9]++))?+ *+(?=" + _LINE_END + rb")"
)  # fmt: skip
# Within a matched line a carriage return ends nothing.
_PART = rb"(?:\\[,= ]|[^,= ])++"
_TAG = re.compile(rb",(" + _PART + rb")=(" + _PART + rb")")
_ONE_FIELD = re.compile(rb",?(" + _PART + rb")=(" + _STRING + rb"|(?!\")[^, ]++)")
_IGNORED = re.compile(rb"[ \t]*+(?:#[^\n]*+)?(?=" + _LINE_END + rb")|[ \t]*+#[^\n]*+")
_FLOAT = re.compile(rb"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_STRING_ALONE = re.compile(_STRING)
_TRUE, _FALSE = (b"t", b"T", b"true", b"True", b"TRUE"), (b"f", b"F", b"false", b"False", b"FALSE")
_RESERVED = (b"time", b"time_ns", b"sequence")

Field = tuple[Kind, object]
Point = tuple[int, str, tuple[tuple[str, str], ...], dict[str, Field], int]


class _Bad(Exception):
    pass


@dataclass
class Reference:
    """Points as (line number, measurement, tags, fields, time) and the numbers of the bad lines."""

    points: list[Point] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)


def bits_of(value: float) -> bytes:
    """A float's identity: −0.0 is not 0.0."""
    return struct.pack("<d", value)


def _require(condition: bool) -> None:
    if not condition:
        raise _Bad


def _unescape(raw: bytes, special: bytes) -> str:
    return re.sub(rb"\\([" + special + rb"])", rb"\1", raw).decode()


def _check_name(raw: bytes, limits: Limits) -> None:
    _require(not re.search(rb"[\x00-\x1f\x7f]", raw) and len(raw) <= limits.name_bytes_max)


def _value(raw: bytes, limits: Limits) -> Field:
    if raw[:1] == b'"':
        _require(b"\0" not in raw and len(raw) - 2 <= limits.string_bytes_max)
        return Kind.TEXT, re.sub(rb'\\(["\\])', rb"\1", raw[1:-1]).decode()
    if raw in _TRUE or raw in _FALSE:
        return Kind.BOOL, raw in _TRUE
    if re.fullmatch(rb"-?[0-9]+i", raw):
        _require(-(2**63) <= int(raw[:-1]) < 2**63)
        return Kind.INT8, int(raw[:-1])
    if re.fullmatch(rb"[0-9]+u", raw):
        _require(int(raw[:-1]) < 2**64)
        return Kind.UINT8, int(raw[:-1])
    _require(_FLOAT.fullmatch(raw) is not None)
    value = float(raw)
    _require(abs(value) != float("inf"))
    return Kind.FLOAT8, bits_of(value)


def _point(match: re.Match[bytes], number: int, factor: int, now_ns: int, require_time: bool, limits: Limits) -> Point:
    line = match.group(0)
    line.decode()
    _require(len(line) <= limits.line_bytes_max)
    measurement, tag_text, field_text, time_text = match.groups()
    _check_name(measurement, limits)
    tags: dict[bytes, bytes] = {}
    for key, value in _TAG.findall(tag_text):
        _check_name(key, limits)
        _require(key not in tags and key not in (*_RESERVED, b"_field", b"_measurement") and b"\0" not in value)
        tags[key] = value
    fields: dict[bytes, Field] = {}
    for key, value in _ONE_FIELD.findall(field_text):
        _check_name(key, limits)
        _require(key not in fields and key not in tags and key not in _RESERVED)
        _require(len(measurement + tag_text + key) <= limits.key_bytes_max)
        fields[key] = _value(value, limits)
    _require(len(tags) <= limits.tags_max and len(fields) <= limits.fields_max)
    time = now_ns - now_ns % factor
    if time_text is None:
        _require(not require_time)
    else:
        time = int(time_text) * factor
        _require(abs(time) <= 2**63 - 2)
    decoded_tags = sorted((_unescape(key, rb",= "), _unescape(value, rb",= ")) for key, value in tags.items())
    decoded = {_unescape(key, rb",= "): value for key, value in fields.items()}
    return number, _unescape(measurement, rb", "), tuple(decoded_tags), decoded, time


def _bad_line_end(body: bytes, p: int) -> int:
    """A newline that no balanced string of the fields holds."""
    while p < len(body) and body[p : p + 1] in b" \t":
        p += 1
    key = re.compile(rb"(?<!\\) |\n|\Z").search(body, p)
    assert key is not None
    p = key.start() if key.group() != b" " else key.end()
    while True:
        found = re.compile(rb'\n|(?<!\\)="|\Z').search(body, p)
        assert found is not None
        if found.group() != b'="':
            return found.start()
        string = _STRING_ALONE.match(body, found.end() - 1)
        if string and re.compile(rb"[, ]|" + _LINE_END).match(body, string.end()):
            p = string.end()
        elif string is None or b"\n" in string.group():
            end = body.find(b"\n", found.end())
            return end if end >= 0 else len(body)
        else:
            p = found.end() - 1


def parse(
    body: bytes, *, factor: int = 1, now_ns: int = 0, limits: Limits | None = None, require_time: bool = False
) -> Reference:
    """What the product's ``parse`` must find in the body."""
    limits = limits or Limits()
    result = Reference()
    p = 0
    while p < len(body):
        number = body.count(b"\n", 0, p) + 1
        ignored = _IGNORED.match(body, p)
        if ignored:
            p = ignored.end()
        else:
            blanks = re.compile(rb"[ \t]*").match(body, p)
            match = _LINE.match(body, blanks.end() if blanks else p)
            try:
                _require(match is not None)
                assert match is not None
                result.points.append(_point(match, number, factor, now_ns, require_time, limits))
                p = match.end()
            except (_Bad, UnicodeDecodeError):
                result.bad.append(number)
                p = _bad_line_end(body, p)
        end = re.compile(rb"\r?\n").match(body, p)
        p = end.end() if end else (len(body) if body[p:] in (b"", b"\r") else p)
    return result
