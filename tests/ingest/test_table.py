"""Every row of the design's ingest chapter, 3.1 to 3.4: its recommendation is what happens."""

from __future__ import annotations

import pytest

from tests.ingest.points import points_of
from tests.ingest.reference import Field, bits_of
from tsdb.ingest.lineprotocol import parse
from tsdb.types import Kind

NOW = 1_700_000_000_123_456_789


def number(value: float) -> Field:
    return Kind.FLOAT8, bits_of(value)


def text(value: str) -> Field:
    return Kind.TEXT, value


ONE = {"f": number(1.0)}

# 3.1: accepted lines → measurement, tags, fields, time
ACCEPTED_STRUCTURE = {
    b"m f=1": ("m", (), ONE, NOW),
    b"m,t=a f=1 1000": ("m", (("t", "a"),), ONE, 1000),
    b"m  f=1  1000 ": ("m", (), ONE, 1000),
    b"  m f=1": ("m", (), ONE, NOW),
    b"\tm f=1": ("m", (), ONE, NOW),
    b"m f=1 123\r\n": ("m", (), ONE, 123),
    b"m f=1\r\n": ("m", (), ONE, NOW),
    b"m f=1 123 \r\n": ("m", (), ONE, 123),
    b"m f=1 123\r": ("m", (), ONE, 123),
    b"m f=1\n": ("m", (), ONE, NOW),
    b"tag1=1 field=1": ("tag1=1", (), {"field": number(1.0)}, NOW),
    b"m,b=2,a=1 f=1": ("m", (("a", "1"), ("b", "2")), ONE, NOW),
    "m\u00a0x,t\u2003=\u00a0 f=1".encode(): ("m\u00a0x", (("t\u2003", "\u00a0"),), ONE, NOW),
    "größe,ort=Köln f=1".encode(): ("größe", (("ort", "Köln"),), ONE, NOW),
    b"m,t=a\x01b f=1": ("m", (("t", "a\x01b"),), ONE, NOW),  # control characters are refused in names only
    b"m,time2=a,_fields=b f=1": ("m", (("_fields", "b"), ("time2", "a")), ONE, NOW),
}

SKIPPED = (b"", b"\n", b"   \n", b"\t\n", b"\r\n\r\n", b"# text", b"  # text\n", b'# \x00\xff "\n', b' # "\n\n#')

# 3.1: refused lines → the beginning of the message
REFUSED_STRUCTURE = {
    b"m f=1 # note": "bad timestamp",
    b"m\tf=1": "a tab separates nothing",
    b"m,t=a\tf=1": "a tab separates nothing",
    b"m f=1\t1000": "a tab separates nothing",
    b'm f="a"\t1000': "a tab separates nothing",
    b"m f=t\t1000": "a tab separates nothing",
    b"m f=1 1000\t": "a tab separates nothing",
    b"m": "missing fields",
    b"m,t=a": "missing fields",
    b"m,t=a  ": "missing fields",
    b",t=a f=1": "missing measurement",
    b" f=1": "missing fields",
    b"f=1 ": "missing fields",
    b"m,t=a,t=b f=1": "duplicate tags",
    b"m f=1,f=2": "duplicate field",
    b"m f=1,g=2,f=1": "duplicate field",
    b"m,t= f=1": "missing tag value",
    b"m,t f=1": "missing tag value",
    b"m,t,u=1 f=1": "missing tag value",
    b"m,=a f=1": "missing tag key",
    b"m, f=1": "missing tag key",
    b"m,,a=b f=1": "missing tag key",
    b"m,a=b, f=1": "missing tag key",
    b"m,t=a=b f=1": "invalid tag format",
    b"m f=": "missing field value",
    b"m f= ": "missing field value",
    b"m f=,g=1": "missing field value",
    b"m f=1,g": "missing field value",
    b"m =1": "missing field key",
    b"m f=1,=2": "missing field key",
    b"m f=1,": "missing field key",
    b"m f=1, g=1": "missing field key",
    b"m f=1 1 2": "bad timestamp",
    b"\x00m f=1": "control character",
    b"m\x00 f=1": "control character",
    b"m \x00f=1": "control character",
    b"m f=1\x00": "invalid number",
    b"m f=1 \x001": "bad timestamp",
    b"m,t=a\x00 f=1": "NUL",
    b'm f="\x00"': "NUL",
    b"m\x7f f=1": "control character",
    b"m,t\x01=a f=1": "control character",
    b"m f\x1f=1": "control character",
    b"m\r f=1": "control character",
    b"m\xff f=1": "invalid UTF-8",
    b"m,t=\xc3 f=1": "invalid UTF-8",
    b'm f="\xed\xa0\x80"': "invalid UTF-8",
    b'm f="\xc0\x80"': "invalid UTF-8",
    b'm f="\xf4\x90\x80\x80"': "invalid UTF-8",
    b"m,time=a f=1": "reserved tag key",
    b"m,time_ns=a f=1": "reserved tag key",
    b"m,sequence=a f=1": "reserved tag key",
    b"m,_field=a f=1": "reserved tag key",
    b"m,_measurement=a f=1": "reserved tag key",
    b"m time=1": "reserved field key",
    b"m time_ns=1,f=1": "reserved field key",
    b"m f=1,sequence=1": "reserved field key",
    b"m,a=1 a=1": '"a" is a tag and a field of this line',
    b"m,a\\ b=1 f=1,a\\ b=1": '"a b" is a tag and a field of this line',
}

# 3.2: escapes
ESCAPED = {
    rb"my\ m,t=a f=1": ("my m", (("t", "a"),), ONE),
    rb"my\,m f=1": ("my,m", (), ONE),
    rb"my\=m f=1": ("my\\=m", (), ONE),
    rb"m\\x f=1": ("m\\\\x", (), ONE),
    rb"m,a\ b=a\ b a\ b2=1": ("m", (("a b", "a b"),), {"a b2": number(1)}),
    rb"m,a\,b=a\,b c\,d=1": ("m", (("a,b", "a,b"),), {"c,d": number(1)}),
    rb"m,a\=b=a\=b c\=d=1": ("m", (("a=b", "a=b"),), {"c=d": number(1)}),
    rb"m,t=a\nb f=1": ("m", (("t", "a\\nb"),), ONE),
    rb"m,t=\\,\,\=east f=1": ("m", (("t", "\\,,=east"),), ONE),
    rb"m,t=\\ east f=1": ("m", (("t", "\\ east"),), ONE),
    b'm,t="a f=1': ("m", (("t", '"a'),), ONE),
    b'"m,"t"="a" "f"=1': ('"m', (('"t"', '"a"'),), {'"f"': number(1)}),
    rb'm f="a\"b"': ("m", (), {"f": text('a"b')}),
    rb'm f="a\\b"': ("m", (), {"f": text("a\\b")}),
    rb'm f="a\\"': ("m", (), {"f": text("a\\")}),
    rb'm f="a\nb"': ("m", (), {"f": text("a\\nb")}),
    rb'm f="a\tb"': ("m", (), {"f": text("a\\tb")}),
    rb'm f="a\,b"': ("m", (), {"f": text("a\\,b")}),
    b'm f="a\nb"': ("m", (), {"f": text("a\nb")}),
    b'm f="a\r\nb\r"': ("m", (), {"f": text("a\r\nb\r")}),
    b'm f=""': ("m", (), {"f": text("")}),
    b'm f="a, b=c"': ("m", (), {"f": text("a, b=c")}),
    b'm f="\x01\t"': ("m", (), {"f": text("\x01\t")}),
}

REFUSED_ESCAPES = {
    b"m\\": "missing fields",
    b"m\\ f=1": "missing fields",
    rb"m,t=a\ f=1": "invalid tag format",
    rb'm f="\\\"': "unbalanced quotes",
    rb'm f="a\\\"': "unbalanced quotes",
    b'm f="abc': "unbalanced quotes",
    b'm f="abc""': "invalid field format",
    b'm f="a"b': "invalid field format",
    b'm f="a"=1': "invalid field format",
    b"m f=abc": "invalid number",
}

# 3.3: values
VALUES: dict[bytes, Field] = {
    b"1": number(1.0), b"1.0": number(1.0), b"-1": number(-1.0), b"1e3": number(1000.0), b"1E-3": number(0.001),
    b"1e+78": number(1e78), b"007": number(7.0), b"1.": number(1.0), b".5": number(0.5), b"-.5": number(-0.5),
    b"-0": number(-0.0), b"0e999999": number(0.0), b"1e-400": number(0.0), b"5e-324": number(5e-324),
    b"2.2250738585072014e-308": number(2.2250738585072014e-308), b"1" + b"0" * 300: number(1e300),
    b"1.7976931348623157e308": number(1.7976931348623157e308), b"6.632243e+06": number(6632243.0),
    b"9007199254740993": number(9007199254740993.0), b"0.30000000000000004": number(0.30000000000000004),
    b"1i": (Kind.INT8, 1), b"-1i": (Kind.INT8, -1), b"007i": (Kind.INT8, 7), b"-0i": (Kind.INT8, 0),
    b"9223372036854775807i": (Kind.INT8, 2**63 - 1), b"-9223372036854775808i": (Kind.INT8, -(2**63)),
    b"0000000000000000000000000000009i": (Kind.INT8, 9),
    b"1u": (Kind.UINT8, 1), b"18446744073709551615u": (Kind.UINT8, 2**64 - 1), b"000u": (Kind.UINT8, 0),
    **dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), (Kind.BOOL, True)),
    **dict.fromkeys((b"f", b"F", b"false", b"False", b"FALSE"), (Kind.BOOL, False)),
}  # fmt: skip

REFUSED_VALUES = {
    "invalid number": (
        b"+1", b"1e", b"1e+", b".", b"-", b"-.", b"1.1.1", b"1a", b"42+3", b"0.-1", b"0x10", b"1e400", b"-1e400",
        b"NaN", b"nan", b"Inf", b"-Inf", b"+Inf", b"Infinity", b"9223372036854775808i", b"-9223372036854775809i",
        b"1.0i", b"1ii", b"9e10i", b"9ie10", b"18446744073709551616u", b"99999999999999999999999u", b"-1u", b"--1u",
        b"yes", b"1e1e1", b"i", b"u", b"-i", b"1_0", b"1" * 400, b"\xc2\xb2",
    ),
    "invalid boolean": (b"tRUE", b"fAlse", b"tru", b"TRUe", b"truee", b"ftrue", b"True1"),
}  # fmt: skip

TIMES = {
    b"0": 0, b"-1": -1, b"-9223372036854775806": -(2**63) + 2, b"9223372036854775806": 2**63 - 2, b"000000": 0,
    b"00000000000000000000000000001": 1, b"-0": 0,
}  # fmt: skip
REFUSED_TIMES = (
    b"9223372036854775807", b"-9223372036854775807", b"9223372036854775808", b"99999999999999999999", b"1-", b"-",
    b"-1?", b"1.5", b"1e9", b'"1"', b"1000\\", b"+1", b"1i", b"--1", b"1,2", b"946684800000000000000",
)  # fmt: skip


@pytest.mark.parametrize("line", ACCEPTED_STRUCTURE)
def test_a_line_that_the_table_accepts_is_a_point(line: bytes) -> None:
    parsed = parse(line, now_ns=NOW)
    assert parsed.errors == ()
    assert points_of(parsed) == [(1, *ACCEPTED_STRUCTURE[line])]


@pytest.mark.parametrize("body", SKIPPED)
def test_blank_lines_and_comments_are_neither_points_nor_errors(body: bytes) -> None:
    parsed = parse(body, now_ns=NOW)
    assert (parsed.lines, parsed.error_count) == ((), 0)


@pytest.mark.parametrize("line", [*REFUSED_STRUCTURE, *REFUSED_ESCAPES])
def test_a_line_that_the_table_refuses_is_an_error_and_its_neighbours_are_points(line: bytes) -> None:
    message = {**REFUSED_STRUCTURE, **REFUSED_ESCAPES}[line]
    alone = parse(line, now_ns=NOW)
    assert (alone.lines, alone.error_count) == ((), 1)
    assert alone.errors[0].message.startswith(message)
    parsed = parse(b"before f=1\n" + line + b"\nafter f=1\n", now_ns=NOW)
    assert [(point[0], point[1]) for point in points_of(parsed)] == [(1, "before"), (3, "after")]
    assert [error.line_number for error in parsed.errors] == [2]
    assert parsed.errors[0].message.startswith(message)


@pytest.mark.parametrize("line", ESCAPED)
def test_escapes_are_undone_as_the_table_says(line: bytes) -> None:
    parsed = parse(line, now_ns=NOW)
    assert points_of(parsed) == [(1, *ESCAPED[line], NOW)]


def test_a_backslash_at_the_end_of_a_measurement_joins_what_follows() -> None:
    assert points_of(parse(b"m\\ x f=1", now_ns=0))[0][1] == "m x"
    assert points_of(parse(b"m\\,t=a f=1", now_ns=0))[0][1] == "m,t=a"


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_read_exactly(value: bytes) -> None:
    parsed = parse(b"m f=" + value + b",g=" + value + b" 1\nm f=" + value, now_ns=0)
    assert [point[3] for point in points_of(parsed)] == [{"f": VALUES[value], "g": VALUES[value]}, {"f": VALUES[value]}]


@pytest.mark.parametrize(("message", "value"), [(m, v) for m, values in REFUSED_VALUES.items() for v in values])
def test_what_is_no_value_is_refused(message: str, value: bytes) -> None:
    parsed = parse(b"m f=" + value, now_ns=0)
    assert parsed.lines == ()
    assert parsed.errors[0].message.startswith(message)


@pytest.mark.parametrize("time", TIMES)
def test_times_from_1677_to_2262_are_taken(time: bytes) -> None:
    assert points_of(parse(b"m f=1 " + time, now_ns=5)) == [(1, "m", (), ONE, TIMES[time])]


@pytest.mark.parametrize("time", REFUSED_TIMES)
def test_what_is_no_time_is_a_bad_timestamp(time: bytes) -> None:
    parsed = parse(b"m f=1 " + time, now_ns=5)
    assert parsed.lines == ()
    assert parsed.errors[0].message.startswith("bad timestamp")


def test_three_lines_of_which_the_middle_is_bad_give_two_points_and_one_error() -> None:
    parsed = parse(b"m f=1 1\nm f=oops 2\nm f=3 3", now_ns=0)
    assert [point[4] for point in points_of(parsed)] == [1, 3]
    assert [(e.line_number, e.line, e.message) for e in parsed.errors] == [
        (2, "m f=oops 2", "invalid number (column 5)")
    ]


def test_a_point_whose_fields_are_on_two_lines_stays_two_rows_in_the_order_of_the_body() -> None:
    parsed = parse(b"m,t=a f=1 1\nm,t=a g=2 1\nm,t=a f=3 1", now_ns=0)
    assert [point[3] for point in points_of(parsed)] == [ONE, {"g": number(2)}, {"f": number(3)}]
    assert [len(lines.keys) for lines in parsed.lines] == [1]


def test_a_field_of_several_kinds_is_a_column_for_each() -> None:
    (lines,) = parse(b'm f=1i\nm f=2\nm f="x"\nm f=3i\nm f=4u\nm f=t', now_ns=0).lines
    assert [(c.name, c.kind.name, c.rows.tolist()) for c in lines.fields] == [
        ("f", "FLOAT8", [1]), ("f", "INT8", [0, 3]), ("f", "UINT8", [4]), ("f", "BOOL", [5]), ("f", "TEXT", [2]),
    ]  # fmt: skip
