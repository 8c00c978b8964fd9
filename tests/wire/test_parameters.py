"""Parameters of Bind beyond the golden tables: binary forms that are wrong, limits, NULL, and any bytes at all."""

from __future__ import annotations

import contextlib
import struct
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.datetimes import DAYS_INFINITY, US_INFINITY, US_MINUS_INFINITY, Context, Date, Time, Timestamp, Timestamptz
from tsdb.errors import ProtocolViolation, TsdbError
from tsdb.intervals import Interval
from tsdb.types import BY_NAME, INT4, INT8, NUMERIC, TEXT, SqlType, array_of
from tsdb.wire import Bind
from tsdb.wire.parameters import decode, decode_parameters
from tsdb.zones import zone

CONTEXT = Context(zone("Europe/Berlin"), now_us=1_795_226_166_104_756)


def sqlstate(typname: str, octets: bytes, format_code: int) -> str:
    with pytest.raises(TsdbError) as caught:
        decode(octets, BY_NAME[typname], format_code, CONTEXT)
    return caught.value.sqlstate


def test_all_parameters_of_a_bind_are_decoded_by_their_formats() -> None:
    bind = Bind("", "", (0, 1, 0), (b"12", b"\0\0\0\7", None), ())
    assert decode_parameters(bind, [INT8, INT4, TEXT], CONTEXT) == [12, 7, None]
    one_for_all = Bind("", "", (1,), (b"\0\0\0\1", b"\0\0\0\2"), ())
    assert decode_parameters(one_for_all, [INT4, INT4], CONTEXT) == [1, 2]


def test_the_number_of_parameters_must_be_the_statements() -> None:
    with pytest.raises(ProtocolViolation, match='supplies 1 parameters, but prepared statement "s" requires 2'):
        decode_parameters(Bind("", "s", (), (b"1",), ()), [INT4, INT4], CONTEXT)


@pytest.mark.parametrize(
    ("typname", "octets", "value"),
    [
        ("timestamptz", struct.pack("!q", 2**63 - 1), Timestamptz(US_INFINITY)),
        ("timestamp", struct.pack("!q", -(2**63)), Timestamp(US_MINUS_INFINITY)),
        ("timestamptz", struct.pack("!q", 0), Timestamptz(946_684_800_000_000)),
        ("date", struct.pack("!i", 2**31 - 1), Date(DAYS_INFINITY)),
        ("date", struct.pack("!i", 0), Date(10_957)),
        ("time", struct.pack("!q", 86_400_000_000), Time(86_400_000_000)),
        ("interval", struct.pack("!qii", -1, 2, -3), Interval(-3, 2, -1)),
        ("numeric", bytes.fromhex("0002 0000 0000 0002 0001 1388"), Decimal("1.50")),
        ("numeric", bytes.fromhex("0000 0000 c000 0000"), Decimal("NaN")),
        ("numeric", bytes.fromhex("0001 0001 4000 0000 0003"), Decimal("-30000")),
        ("jsonb", b'\x01{"a": 1}', '{"a": 1}'),
        ("uuid", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("text", "é".encode(), "é"),
        ("_int4", bytes.fromhex("00000002 00000000 00000017 00000001 00000001 00000000 00000001"), []),
    ],
)
def test_binary_forms(typname: str, octets: bytes, value: object) -> None:
    decoded = decode(octets, BY_NAME[typname], 1, CONTEXT)
    assert str(decoded) == str(value) if isinstance(value, Decimal) else decoded == value


@pytest.mark.parametrize(
    ("typname", "octets", "expected"),
    [
        ("int4", b"\0\0\1", "08P01"),
        ("int4", b"\0\0\0\0\1", "22P03"),
        ("bool", b"", "08P01"),
        ("float8", b"\0" * 9, "22P03"),
        ("timestamptz", struct.pack("!q", 2**63 - 2), "22008"),
        ("timestamptz", struct.pack("!q", -(2**62)), "22008"),
        ("date", struct.pack("!i", 2**31 - 2), "22008"),
        ("time", struct.pack("!q", -1), "22008"),
        ("time", struct.pack("!q", 86_400_000_001), "22008"),
        ("interval", b"\0" * 15, "08P01"),
        ("numeric", b"\0\1", "08P01"),
        ("numeric", bytes.fromhex("0001 0000 0000 0000"), "08P01"),
        ("numeric", bytes.fromhex("0001 0000 1234 0000 0001"), "22P03"),
        ("numeric", bytes.fromhex("0001 0000 0000 0000 2710"), "22P03"),
        ("numeric", bytes.fromhex("0001 0000 0000 7fff 0001"), "22P03"),
        ("jsonb", b"\x02{}", "22P03"),
        ("jsonb", b"", "22P03"),
        ("jsonb", b"\x01{", "22P02"),
        ("json", b"[" * 100_000, "54001"),
        ("uuid", b"\0" * 15, "08P01"),
        ("text", b"a\0b", "22021"),
        ("text", b"\xff", "22021"),
        ("_int4", b"\0" * 11, "08P01"),
        ("_int4", bytes.fromhex("00000007 00000000 00000017"), "54000"),
        ("_int4", bytes.fromhex("00000001 00000000 00000019 00000000 00000001"), "22P03"),
        ("_int4", bytes.fromhex("00000001 00000000 00000017 7fffffff 00000001"), "08P01"),
        ("_int4", bytes.fromhex("00000001 00000000 00000017 ffffffff 00000001"), "08P01"),
        ("_int4", bytes.fromhex("00000001 00000000 00000017 00000001 00000001 00000005 00000000"), "08P01"),
        ("_int4", bytes.fromhex("00000001 00000000 00000017 00000001 00000001 ffffffff 00"), "22P03"),
    ],
)
def test_wrong_binary_forms_are_refused(typname: str, octets: bytes, expected: str) -> None:
    assert sqlstate(typname, octets, 1) == expected


def test_numeric_keeps_all_its_digits() -> None:
    text = "9" * 131_072 + "." + "1" * 16_383
    assert str(decode(text.encode(), NUMERIC, 0, CONTEXT)) == text
    assert sqlstate("numeric", b"9" * 131_073, 0) == "22003"
    assert sqlstate("numeric", b"0." + b"1" * 16_384, 0) == "22003"


def test_a_long_text_is_not_repeated_whole_in_the_error() -> None:
    with pytest.raises(TsdbError) as caught:
        decode(b"x" * 1_000_000, INT8, 0, CONTEXT)
    assert len(caught.value.message) < 300
    assert sqlstate("int8", b"1" * 1_000_000, 0) == "22003"
    assert sqlstate("timestamptz", b"1" * 1_000_000, 0) == "22007"
    assert sqlstate("interval", b"1 day " * 100_000, 0) == "22007"


def test_arrays_of_dates_are_read_in_the_sessions_zone() -> None:
    value = decode(b'{"2026-11-21 01:00",NULL}', array_of(BY_NAME["timestamptz"]), 0, CONTEXT)
    assert value == [Timestamptz(1_795_219_200_000_000), None]


TYPES = st.sampled_from(sorted(BY_NAME.values(), key=lambda sql_type: sql_type.oid))


@given(TYPES, st.binary(max_size=60), st.sampled_from((0, 1)))
@settings(max_examples=1500, deadline=None)
def test_any_bytes_are_a_value_or_an_error_of_ours(sql_type: SqlType, octets: bytes, format_code: int) -> None:
    with contextlib.suppress(TsdbError):
        decode(octets, sql_type, format_code, CONTEXT)


WORDS = st.sampled_from([
    "2026-11-21", "01:56:06.104756298", "T", "Z", "+01", "-03:30", "Europe/Berlin", "BC", "now", "today", "infinity",
    "epoch", "Nov", "21", "2026", "12:30", "pm", "J2451187", "2026-325", "20261121", "1", "day", "mons", "ago", "P1Y",
    "PT5M", "{", "}", ",", '"', "\\", "NULL", "-", "+", ".", ":", "/", " ", "e", "0x", "inf", "nan", "١",
])  # fmt: skip


@given(TYPES, st.lists(WORDS, max_size=7).map(" ".join) | st.lists(WORDS, max_size=7).map("".join))
@settings(max_examples=3000, deadline=None)
def test_any_words_are_a_value_or_an_error_of_ours(sql_type: SqlType, text: str) -> None:
    with contextlib.suppress(TsdbError):
        decode(text.encode(), sql_type, 0, CONTEXT)
