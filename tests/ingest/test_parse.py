"""``parse`` beyond the table: precisions, limits, errors, recovery behind a bad line, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ingest.points import points_of
from tsdb.errors import InvalidParameterValue, ProgramLimitExceeded
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Parsed, parse

UNITS = {
    "n": 1, "ns": 1, "u": 10**3, "us": 10**3, "µ": 10**3, "μ": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9,
    "h": 3600 * 10**9,
}  # fmt: skip


def times(parsed: Parsed) -> list[int]:
    return [point[4] for point in points_of(parsed)]


@pytest.mark.parametrize("precision", UNITS)
def test_a_precision_multiplies_times_and_truncates_the_time_of_arrival(precision: str) -> None:
    unit = UNITS[precision]
    now = 1_700_000_000_123_456_789
    assert times(parse(b"m f=1 -3\nm f=1 7\nm f=1", precision=precision, now_ns=now)) == [
        -3 * unit,
        7 * unit,
        now // unit * unit,
    ]


@pytest.mark.parametrize("precision", UNITS)
def test_a_time_that_leaves_int64_after_multiplication_is_refused(precision: str) -> None:
    most = (2**63 - 2) // UNITS[precision]
    body = f"m f=1 {most}\nm f=1 -{most}\nm f=1 {most + 1}\nm f=1 -{most + 1}".encode()
    parsed = parse(body, precision=precision, now_ns=0)
    assert times(parsed) == [most * UNITS[precision], -most * UNITS[precision]]
    assert [e.line_number for e in parsed.errors] == [3, 4]
    assert "time outside range" in parsed.errors[0].message


def test_an_unknown_precision_is_refused_in_influxdbs_words() -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        parse(b"m f=1", precision="x", now_ns=0)
    assert caught.value.message == 'invalid precision "x" (use n, u, ms, s, m or h)'


def test_a_numbered_batch_wants_a_time_on_every_line() -> None:
    parsed = parse(b"m f=1\nm f=1 5", now_ns=0, require_time=True)
    assert times(parsed) == [5]
    assert parsed.errors[0].message.startswith("missing timestamp")


def test_an_unbalanced_quote_costs_its_own_line_only() -> None:
    for body in (b'm f="a\nm f=2 2\nm f=3 3', b'm f="a\nm f=2 2\nm f=3,s="x" 3', b'm f="a\nm f=2 2\nm s="x",f=3 3'):
        parsed = parse(body, now_ns=0)
        assert [e.line_number for e in parsed.errors] == [1]
        assert parsed.errors[0].message == "unbalanced quotes (column 5)"
        assert times(parsed) == [2, 3]


def test_text_inside_a_string_never_becomes_a_point() -> None:
    for bad in (b"f=oops,", b"f=1,f=2,", b"=1,", b"time=1,"):
        parsed = parse(b"m " + bad + b's="a\nm f=1 666\nb" 1\nm f=2 2', now_ns=0)
        assert times(parsed) == [2]
        assert [e.line_number for e in parsed.errors] == [1]
    assert times(parse(b'm,t= s="a\nm f=1 666\nb" 1\nm f=2 2', now_ns=0)) == [2]


def test_lines_are_counted_as_an_editor_does() -> None:
    parsed = parse(b'# c\n\nm f=1\r\nm s="a\nb\nc"\n bad\nm s="x\n",f=oops\nm f=2\n', now_ns=0)
    assert [point[0] for point in points_of(parsed)] == [3, 4, 10]
    assert [e.line_number for e in parsed.errors] == [7, 8]
    assert parse(b"bad\n", now_ns=0, line_first=41).errors[0].line_number == 41


def test_errors_are_capped_and_counted_exactly() -> None:
    body = b"".join(b"m f=%s\n" % (b"oops" if i % 2 else b"1e400") for i in range(500)) + b"m f=1"
    parsed = parse(body, now_ns=0, limits=Limits(errors_max=7))
    assert [e.line_number for e in parsed.errors] == [1, 2, 3, 4, 5, 6, 7]
    assert parsed.error_count == 500
    assert parsed.row_count == 1


def test_the_text_of_a_bad_line_is_capped() -> None:
    line = b"m " + "ä".encode() * 5000
    assert parse(line, now_ns=0).errors[0].line == "m " + "ä" * 253 + "…"
    assert parse(b"m f=\xff\r\n", now_ns=0).errors[0].line == "m f=�"


@pytest.mark.parametrize(
    ("limits", "good", "bad", "message"),
    [
        (Limits(line_bytes_max=8), b"m f=1 10", b"m f=1 100", "line too long: at most 8 bytes"),
        (Limits(key_bytes_max=7), b"m,t=a ff=1", b"m,t=a fff=1", "series key and field key have at most 7"),
        (Limits(key_bytes_max=7), b"m,t=a f=1", b"m,t=abcd f=1", "max key length exceeded"),
        (Limits(name_bytes_max=3), b"mmm,ttt=aaaa fff=1", b"mmmm f=1", "name too long: at most 3 bytes"),
        (Limits(name_bytes_max=3), b"m f=1", b"m,tttt=1 f=1", "name too long"),
        (Limits(name_bytes_max=3), b"m f=1", b"m ffff=1", "name too long"),
        (Limits(name_bytes_max=9999), b"m f=1", b"m " + b"f" * 256 + b"=1", "name too long"),
        (Limits(string_bytes_max=2), b'm f="ab"', b'm f="abc"', "string too long: at most 2 bytes"),
        (Limits(fields_max=2), b"m a=1,b=2", b"m a=1,b=2,c=3", "too many fields: at most 2"),
        (Limits(tags_max=2), b"m,a=1,b=2 f=1", b"m,a=1,b=2,c=3 f=1", "too many tags: at most 2"),
    ],
)  # fmt: skip
def test_a_limit_holds_for_its_line_and_is_stated(limits: Limits, good: bytes, bad: bytes, message: str) -> None:
    parsed = parse(bad + b"\n" + good + b"\n" + bad, now_ns=0, limits=limits)
    assert [point[0] for point in points_of(parsed)] == [2]
    assert [e.line_number for e in parsed.errors] == [1, 3]
    assert message in parsed.errors[0].message


def test_a_body_beyond_its_limit_is_refused_whole() -> None:
    with pytest.raises(ProgramLimitExceeded, match="larger than 4"):
        parse(b"m f=1", now_ns=0, limits=Limits(body_bytes_max=4))


def test_a_thousand_tags_and_thousands_of_fields_are_fine() -> None:
    tags = b"".join(b",t%d=%d" % (i, i) for i in range(1000))
    fields = b",".join(b"f%d=%di" % (i, i) for i in range(4000))
    parsed = parse(b"m" + tags + b" " + fields + b"\nm" + tags + b" " + fields + b" 1", now_ns=0)
    assert parsed.error_count == 0
    first, second = points_of(parsed)
    assert len(first[2]) == 1000
    assert first[3] == second[3]
    assert len(first[3]) == 4000


def test_arrays_that_prove_too_small_are_made_larger() -> None:
    body = b"".join(b"m%d,t=%d f%d=1 1\n" % (i % 50, i, i % 700) for i in range(5000)) + b"m f=1\n" * 20000
    parsed = parse(body, now_ns=0)
    assert (parsed.row_count, parsed.error_count) == (25_000, 0)
    assert sum(len(lines.keys) for lines in parsed.lines) == 5001


def test_a_memoryview_is_taken_as_bytes_are() -> None:
    body = b"xxm f=1 1\nxx"
    assert times(parse(memoryview(body)[2:-2], now_ns=0)) == [1]
    assert times(parse(memoryview(bytearray(b"m f=1 1")), now_ns=0)) == [1]


def test_threads_parse_at_the_same_time() -> None:
    bodies = [b"".join(b"cpu%d,host=h%d v=%di %d\n" % (b, i, i, i) for i in range(2000)) for b in range(8)]
    expected = [points_of(parse(body, now_ns=0)) for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: points_of(parse(body, now_ns=0)), bodies * 3))
    assert found == expected * 3


def test_a_series_key_has_one_number_as_it_is_written() -> None:
    (lines,) = parse(b"m,a=1,b=2 f=1\nm,b=2,a=1 f=1\nm,a=1,b=3 f=1\nm,b=2,a=1 f=1", now_ns=0).lines
    assert lines.key.tolist() == [0, 1, 2, 1]


def test_the_tags_of_a_refused_line_are_forgotten() -> None:
    (lines,) = parse(b"m,a=1 f=1e400\nm,b=2 f=1\nm,f=3 f=1", now_ns=0).lines
    assert [lines.keys.pairs(key) for key in range(len(lines.keys))] == [(("b", "2"),)]


def test_bodies_that_follow_each_other_in_the_same_room_share_nothing() -> None:
    first = parse(b'm,t=a f=1i,s="x" 1\nm,t=b f=2i,s="y" 2\nm f= 3', now_ns=0)
    found = points_of(first), first.errors
    for k in range(8):
        parse(b'other,tag=%d g="zzz",f=%d %d\nbad\n' % (k, k, k) * 3, now_ns=0)
    assert (points_of(first), first.errors) == found


@pytest.mark.parametrize("precision", ["ns", "us", "s", "h"])
@pytest.mark.parametrize("length", range(1, 24))
def test_times_of_any_length_are_read_exactly_or_refused(length: int, precision: str) -> None:
    texts = [text for k in range(10) for text in (str(k) * length, f"{10**length - 1 - k}", f"{k:0{length}}")]
    parsed = parse("\n".join(f"m f=1 {text}" for text in texts).encode(), precision=precision, now_ns=0)
    kept = [int(text) * UNITS[precision] for text in texts]
    assert times(parsed) == [time for time in kept if time <= 2**63 - 2]
    assert parsed.error_count == sum(time > 2**63 - 2 for time in kept)
