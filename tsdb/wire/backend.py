"""Backend messages: what the server sends, each a plain function from its fields to bytes.

Whether a message may be sent now is ``tsdb.wire.connection``'s matter. DataRow messages are written in bulk by
``tsdb.wire.rows`` from Arrow columns.

Source: PostgreSQL 15 manual, 55.7 (message formats) and 55.8 (error and notice fields).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tsdb.encodings import UTF8
from tsdb.errors import TsdbError
from tsdb.types import SqlType

PROTOCOL_VERSION = 3 << 16


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """One column of a RowDescription. ``table_oid`` and ``attribute_number`` are 0 for an expression;
    ``type_modifier`` is pg_attribute.atttypmod."""

    name: str
    type: SqlType
    format_code: int = 0
    table_oid: int = 0
    attribute_number: int = 0
    type_modifier: int = -1


_COLUMN = struct.Struct("!IhIhih")


def message(letter: bytes, body: bytes = b"") -> bytes:
    return letter + (len(body) + 4).to_bytes(4, "big") + body


def cstring(text: str, codec: str = UTF8) -> bytes:
    """A zero-terminated string; a zero character inside would end it early, so it goes as U+FFFD. What ``codec`` does
    not have goes as ``?``: names and messages, never values."""
    return text.replace("\0", "\ufffd").encode(codec, errors="replace") + b"\0"


def authentication(code: int, data: bytes = b"") -> bytes:
    """0 Ok, 3 cleartext password, 10 SASL mechanisms, 11 SASL continue, 12 SASL final."""
    return message(b"R", code.to_bytes(4, "big") + data)


def negotiate_protocol_version(options: Sequence[str]) -> bytes:
    """3.0 is the newest version spoken; ``options`` are the ``_pq_.`` names that were not understood.

    The manual speaks of a minor version, but the field is the whole version number (PostgreSQL's
    SendNegotiateProtocolVersion sends it; libpq checks it as such).
    """
    body = PROTOCOL_VERSION.to_bytes(4, "big") + len(options).to_bytes(4, "big")
    return message(b"v", body + b"".join(cstring(name) for name in options))


def parameter_status(name: str, value: str, codec: str = UTF8) -> bytes:
    return message(b"S", cstring(name, codec) + cstring(value, codec))


def backend_key_data(process_id: int, secret_key: int) -> bytes:
    return message(b"K", process_id.to_bytes(4, "big") + secret_key.to_bytes(4, "big"))


def ready_for_query(status: str) -> bytes:
    return message(b"Z", status.encode())


def row_description(fields: Sequence[FieldDescription], codec: str = UTF8) -> bytes:
    columns = (
        cstring(field.name, codec)
        + _COLUMN.pack(
            field.table_oid,
            field.attribute_number,
            field.type.oid,
            field.type.size,
            field.type_modifier,
            field.format_code,
        )
        for field in fields
    )
    return message(b"T", len(fields).to_bytes(2, "big") + b"".join(columns))


def parameter_description(oids: Sequence[int]) -> bytes:
    return message(b"t", len(oids).to_bytes(2, "big") + b"".join(oid.to_bytes(4, "big") for oid in oids))


def command_complete(tag: str) -> bytes:
    return message(b"C", cstring(tag))


def copy_response(letter: bytes, format_codes: Sequence[int], *, binary: bool) -> bytes:
    """G for COPY FROM STDIN, H for COPY TO STDOUT; ``binary`` is the format of the copy as a whole."""
    codes = b"".join(code.to_bytes(2, "big") for code in format_codes)
    return message(letter, bytes([binary]) + len(format_codes).to_bytes(2, "big") + codes)


def copy_data(data: bytes) -> bytes:
    return message(b"d", data)


def notification(process_id: int, channel: str, payload: str, codec: str = UTF8) -> bytes:
    return message(b"A", process_id.to_bytes(4, "big") + cstring(channel, codec) + cstring(payload, codec))


def diagnostic(letter: bytes, severity: str, error: TsdbError, codec: str = UTF8) -> bytes:
    """An ErrorResponse (E) or a NoticeResponse (N).

    S and V are the severity (V never translated), C the SQLSTATE, M the message, D its detail, H a hint, P the
    1-based character the client may point at, W the context.
    """
    fields = [(b"S", severity), (b"V", severity), (b"C", error.sqlstate), (b"M", error.message)]
    if error.detail is not None:
        fields.append((b"D", error.detail))
    if error.hint is not None:
        fields.append((b"H", error.hint))
    if error.position is not None:
        fields.append((b"P", str(error.position)))
    if error.where is not None:
        fields.append((b"W", error.where))
    if error.column is not None:
        fields += zip((b"s", b"t", b"c"), error.column, strict=True)
    elif error.constraint is not None:
        fields += zip((b"s", b"t", b"n"), error.constraint, strict=True)
    return message(letter, b"".join(code + cstring(text, codec) for code, text in fields) + b"\0")
