"""Whatever can be written is read back, however it was written, and parts parse to what the whole does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest import reference
from tests.ingest.fuzz import SEEDS, mutated
from tests.ingest.points import points_of
from tests.ingest.reference import Field
from tests.ingest.strategies import expected, points, write_line
from tsdb.ingest.lineprotocol import parse, split
from tsdb.types import Kind

Written = tuple[str, dict[str, str], dict[str, Field], int | None]


def _check_round_trip(written: list[Written], seed: int) -> None:
    rng = random.Random(seed)
    body = "".join(write_line(point, rng) + rng.choice(("\n", "\r\n", '\n# "\n', "\n\n")) for point in written).encode()
    parsed = parse(body, now_ns=77)
    assert parsed.errors == ()
    assert [point[1:] for point in points_of(parsed)] == [
        (
            measurement,
            tuple(sorted(tags.items())),
            {name: expected(value) for name, value in fields.items()},
            77 if time is None else time,
        )
        for measurement, tags, fields, time in written
    ]
    assert reference.parse(body, now_ns=77).points == points_of(parsed)


@settings(max_examples=300, deadline=None)
@given(st.lists(points(), max_size=5), st.integers(0, 2**32))
def test_written_points_are_read_back(written: list[Written], seed: int) -> None:
    _check_round_trip(written, seed)


@pytest.mark.nightly
@settings(max_examples=20_000, deadline=None)
@given(st.lists(points(), max_size=8), st.integers(0, 2**32))
def test_many_written_points_are_read_back(written: list[Written], seed: int) -> None:
    _check_round_trip(written, seed)


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["r", ".17e", ".25e", "f", ".3e", ".18g"]))
def test_a_float_is_read_as_pythons_float_reads_it(value: float, form: str) -> None:
    written = repr(value) if form == "r" else format(value, form)
    if abs(float(written)) == float("inf"):
        return
    (point,) = points_of(parse(f"m f={written}".encode(), now_ns=0))
    assert point[3] == {"f": expected((Kind.FLOAT8, float(written)))}


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 50])
def test_parts_parse_to_what_the_whole_does(parts: int) -> None:
    rng = random.Random(parts)
    for _ in range(150):
        body = mutated(rng, SEEDS)
        body = body.replace(b'"', b"") if rng.random() < 0.3 else body
        whole = parse(body, now_ns=5)
        pieces = list(split(body, parts))
        assert len(pieces) <= parts
        assert b"".join(bytes(piece) for piece, _ in pieces) == body
        parsed = [parse(piece, now_ns=5, line_first=first) for piece, first in pieces]
        assert [point for part in parsed for point in points_of(part)] == points_of(whole), body
        assert [error for part in parsed for error in part.errors] == list(whole.errors), body


@pytest.mark.parametrize("value", [b'"a\nb"', b"1"])
def test_parts_are_about_equal_in_size(value: bytes) -> None:
    body = b"".join(b"cpu,host=h%d v=%b %d\n" % (i % 10, value, i) for i in range(1000))
    sizes = [len(piece) for piece, _ in split(body, 4)]
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) < 100
