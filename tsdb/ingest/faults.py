"""What is wrong with a line, in InfluxDB's words where it has them: the texts of the kernel's codes."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.ingest import kernel_names as codes
from tsdb.ingest import kernel_numbers as numbers

TEXT_CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request, a line and its parts may have at most. Names and series keys count as written, with escapes.

    ``errors_max`` bounds the list of errors, not their count. The schema's own limit holds for names as well.
    """

    body_bytes_max: int = 256 << 20
    line_bytes_max: int = 4 << 20
    key_bytes_max: int = 65_535
    name_bytes_max: int = 255
    string_bytes_max: int = 1 << 20
    fields_max: int = 5_000
    tags_max: int = 1_000
    errors_max: int = 100


@dataclass(frozen=True, slots=True)
class LineError:
    """A line that was not stored: its number in the body (from 1), its text (capped), and why."""

    line_number: int
    line: str
    message: str


_RESERVED = 'the names "time", "time_ns" and "sequence" are reserved'

_MESSAGES = {
    numbers.INVALID_NUMBER: "invalid number",
    numbers.INTEGER_RANGE: "invalid number: integer out of range",
    numbers.FLOAT_RANGE: "invalid number: out of range of float8",
    numbers.INVALID_BOOLEAN: "invalid boolean",
    codes.MISSING_MEASUREMENT: "missing measurement",
    codes.MISSING_TAG_KEY: "missing tag key",
    codes.MISSING_TAG_VALUE: "missing tag value",
    codes.TAG_FORMAT: 'invalid tag format: "=" in a tag value must be escaped',
    codes.DUPLICATE_TAG: "duplicate tags",
    codes.RESERVED_TAG: f'reserved tag key: {_RESERVED}, and "_field" and "_measurement" as tags',
    codes.CONTROL_CHARACTER: "control character in a name",
    codes.TAB: "a tab separates nothing, only a blank does",
    codes.NUL: "NUL byte in a value",
    codes.MISSING_FIELDS: "missing fields",
    codes.MISSING_FIELD_KEY: "missing field key",
    codes.MISSING_FIELD_VALUE: "missing field value",
    codes.RESERVED_FIELD: f"reserved field key: {_RESERVED}",
    codes.DUPLICATE_FIELD: "duplicate field",
    codes.INVALID_STRING: "invalid field format: text behind the closing quote",
    codes.UNBALANCED_QUOTES: "unbalanced quotes",
    codes.BAD_TIMESTAMP: "bad timestamp",
    codes.TIME_RANGE: "bad timestamp: time outside range -9223372036854775806 - 9223372036854775806",
    codes.MISSING_TIME: "missing timestamp: every line of a numbered batch needs one",
    codes.INVALID_UTF8: "invalid UTF-8",
}

_LIMITED = {
    codes.TOO_MANY_TAGS: ("too many tags: at most {} are allowed", "tags_max"),
    codes.KEY_TOO_LONG: ("max key length exceeded: series key and field key have at most {} bytes", "key_bytes_max"),
    codes.NAME_TOO_LONG: ("name too long: at most {} bytes are allowed", "name_bytes_max"),
    codes.TOO_MANY_FIELDS: ("too many fields: at most {} are allowed", "fields_max"),
    codes.STRING_TOO_LONG: ("string too long: at most {} bytes are allowed", "string_bytes_max"),
    codes.LINE_TOO_LONG: ("line too long: at most {} bytes are allowed", "line_bytes_max"),
}


def message_of(code: int, column: int, limits: Limits) -> str:
    """The text of a kernel's error code; ``column`` is the byte in the line, from 1."""
    if code in _LIMITED:
        text, limit = _LIMITED[code]
        return f"{text.format(getattr(limits, limit))} (column {column})"
    return f"{_MESSAGES[code]} (column {column})"


def line_text(body: bytes | bytearray, start: int, end: int) -> str:
    """The text of a line for an error, without its carriage return, capped."""
    end_capped = min(end, start + 4 * TEXT_CHARACTERS_MAX)
    text = body[start:end_capped].decode(errors="replace").rstrip("\r")
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"
