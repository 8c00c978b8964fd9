"""Lines that are cut the short way come out as by the rules of their format, whatever stands around them."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from tsdb.sql.copy.cut import Cutter, Fields
from tsdb.sql.copy.options import CopyOptions

CSV = CopyOptions(format="csv", delimiter=",", null="")
TEXT = CopyOptions()
COLUMNS = ["before", "a", "b", "c", "number", "small", "after"]
TAGS = (1, 3)
BOUNDS = {4: (-(2**63), 2**63 - 1), 5: (-128, 127)}

Row = tuple[int, tuple[bytes | None, ...]]
Options = CopyOptions


def rows_of(options: Options, octets: bytes, sizes: list[int], *, short: bool) -> tuple[list[Row], list[object]]:
    """All records with their lines, and what is said of those that were cut the short way, or of the problem."""
    cutter = Cutter(options, COLUMNS, BOUNDS, TAGS) if short else Cutter(options, COLUMNS)
    rows: list[Row] = []
    problems: list[object] = []

    def take(fields: Fields) -> None:
        found = [tuple(fields.octets_of(c, r) for c in range(len(COLUMNS))) for r in range(fields.rows)]
        rows.extend(zip(fields.lines[: fields.rows].tolist(), found, strict=True))
        if fields.problem is not None:
            problem = fields.problem
            problems.append((problem.error.message, problem.line, problem.text, problem.fields))
        if short and fields.rows:
            check_integers(fields, found)
            check_tags(fields)

    at = 0
    for size in [*sizes, len(octets)]:
        for fields in cutter.feed(octets[at : at + size]):
            take(fields)
        at += size
    for fields in cutter.finish():
        take(fields)
    return rows, problems


def check_integers(fields: Fields, found: list[tuple[bytes | None, ...]]) -> None:
    slow = set(fields.slow.tolist())
    for column, (low, high) in BOUNDS.items():
        for row, texts in enumerate(found):
            if row not in slow:
                text = texts[column]
                value = int(fields.integers[column][row])
                assert (text is None and value == 0) or (text is not None and int(text) == value)
                assert low <= value <= high
        assert column not in fields.whole or all(texts[column] is not None for texts in found)


def check_tags(fields: Fields) -> None:
    assert fields.tags is not None
    numbers, first = fields.tags
    begins = fields.starts[TAGS[0], : fields.rows]
    stops = fields.starts[TAGS[1] + 1, : fields.rows] - 1
    texts = [fields.raw[b:e] for b, e in zip(begins.tolist(), stops.tolist(), strict=True)]
    assert [texts[row] for row in first[numbers].tolist()] == texts
    assert len(set(texts)) == len(first)
    assert first.tolist() == sorted({text: row for row, text in reversed(list(enumerate(texts)))}.values())


def _field(rng: random.Random, options: Options) -> str:
    kind = rng.randrange(12)
    if kind == 0:
        return options.null
    if kind == 1 and options.format == "csv":
        return rng.choice(['""', '"a"', '"a,b"', '"x\ny"', '"q""q"', 'a"b"c'])
    if kind == 1:
        return rng.choice([r"\t", r"a\tb", r"\N", r"\\", r"\061"])
    return rng.choice(["", "a", "host_1", "é", "eu-central-1", "x" * rng.randrange(40)])


def _number(rng: random.Random, options: Options) -> str:
    if rng.randrange(25) == 0:
        return rng.choice(
            [" 7", "7 ", "1.5", "-", "+", "", "abc", "9" * 19, "9" * 30, "0x1", "128", '"5"', options.null]
        )
    sign = rng.choice(["", "", "-", "+"])
    return sign + str(rng.randrange(10 ** rng.randrange(1, 19)))


def _line(rng: random.Random, options: Options, tags: list[list[str]], at: int) -> str:
    known = tags[at % len(tags)] if rng.randrange(8) else [_field(rng, options) for _ in range(3)]
    small = str(rng.randrange(-128, 128)) if rng.randrange(20) else _number(rng, options)
    fields = [_field(rng, options), *known, _number(rng, options), small, _field(rng, options)]
    if rng.randrange(400) == 0:
        fields = fields[: rng.randrange(1, 9)] if rng.randrange(2) else [*fields, "more"]
    return options.delimiter.join(fields)


@pytest.mark.parametrize("options", [CSV, TEXT], ids=["csv", "text"])
@pytest.mark.parametrize("seed", range(60))
def test_short_way_is_as_the_long_way(options: Options, seed: int) -> None:
    rng = random.Random(seed)
    tags = [[_field(rng, options) for _ in range(3)] for _ in range(rng.randrange(1, 30))]
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    octets = end.join(_line(rng, options, tags, at) for at in range(rng.randrange(1, 400))).encode()
    octets += rng.choice([b"", end.encode(), b"\n\\.\n", end.encode() + b"\\." + end.encode(), b"\0", b"\n\r\n"])
    sizes = [rng.randrange(1, 2000) for _ in range(rng.randrange(4))]
    assert rows_of(options, octets, sizes, short=True) == rows_of(options, octets, sizes, short=False)


def _only(octets: bytes, options: Options = CSV) -> Fields:
    cutter = Cutter(options, COLUMNS, BOUNDS, TAGS)
    (fields,) = cutter.feed(octets)
    return fields


def test_plain_lines_have_no_slow_rows() -> None:
    lines = b"".join(b"x,host_%d,eu,,%d,-7,2026-01-01 00:00:00+00\n" % (i % 10, i) for i in range(100))
    fields = _only(lines)
    assert fields.rows == 100
    assert not len(fields.slow)
    assert fields.whole == {4, 5}
    assert fields.integers[4][:100].tolist() == list(range(100))
    assert fields.tags is not None
    np.testing.assert_array_equal(fields.tags[0], np.arange(100) % 10)
    np.testing.assert_array_equal(fields.tags[1], np.arange(10))


@pytest.mark.parametrize(
    ("small", "slow"),
    [(b"127", 0), (b"128", 1), (b"-128", 0), (b"-129", 1), (b"+5", 0), (b"", 0), (b" 5", 1), (b'"5"', 1), (b"5.0", 1)],
)
def test_what_is_no_plain_integer_is_slow(small: bytes, slow: int) -> None:
    assert len(_only(b"x,a,b,c,1," + small + b",y\n").slow) == slow


@pytest.mark.parametrize("change", [lambda line: line, lambda line: line.replace(b"\n", b"\r\n")], ids=["lf", "crlf"])
def test_longest_integers(change: Callable[[bytes], bytes]) -> None:
    for digits in range(1, 20):
        for sign in (b"", b"-"):
            text = sign + b"9" * digits
            fields = _only(change(b"x,a,b,c," + text + b",1,y\n"))
            assert len(fields.slow) == (digits > 18)
            assert digits > 18 or int(fields.integers[4][0]) == int(text)


def test_null_that_looks_like_a_number() -> None:
    fields = _only(b"x,a,b,c,0,1,y\nx,a,b,c,00,1,y\n", CopyOptions(format="csv", delimiter=",", null="0"))
    assert fields.octets_of(4, 0) is None
    assert fields.octets_of(4, 1) == b"00"
    assert not len(fields.slow)
    assert fields.whole == {5}
