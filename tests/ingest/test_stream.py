"""Lines that come in pieces are the lines of the whole."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.fuzz import SEEDS, mutated
from tests.ingest.points import points_of
from tests.ingest.strategies import points, write_line
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import parse
from tsdb.ingest.stream import LineStream, whole_lines


def _bodies(stream: LineStream, text: bytes, cuts: list[int]) -> list[bytes]:
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        stream.feed(text[start:end])
        found.append(bytes(stream.take()))
    found.append(bytes(stream.end()))
    return [body for body in found if body]


@settings(max_examples=300, deadline=None)
@given(st.lists(points(), max_size=5), st.integers(0, 2**32))
def test_pieces_parse_to_what_the_whole_does(written: list, seed: int) -> None:  # type: ignore[type-arg]
    rng = random.Random(seed)
    text = "".join(write_line(point, rng) + rng.choice(("\n", "\r\n", '\n# "\n')) for point in written).encode()
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(8)))
    bodies = _bodies(LineStream(1 << 20), text, cuts)
    assert b"".join(bodies) == text
    parts = [point[1:] for body in bodies for point in points_of(parse(body, now_ns=7))]
    assert parts == [point[1:] for point in points_of(parse(text, now_ns=7))]


def test_wherever_a_body_is_cut_its_whole_lines_stay_whole() -> None:
    rng = random.Random(5)
    for _ in range(1500):
        text = mutated(rng, SEEDS)
        size = rng.randrange(len(text) + 1)
        whole = whole_lines(np.frombuffer(text[:size], np.uint8))
        assert whole <= size
        both = [*parse(text[:whole], now_ns=7).lines, *parse(text[whole:], now_ns=7).lines]
        assert sum(map(len, both)) == sum(map(len, parse(text, now_ns=7).lines)), (text, whole)


def test_a_string_that_is_not_closed_costs_its_own_line_once_it_is_too_long() -> None:
    stream = LineStream(1000)
    stream.feed(b'm s="open\nm f=1 1\n')
    assert stream.take() == b""
    stream.feed(b"m f=2 2\n" * 200 + b"m f=")
    taken = stream.take()
    assert taken.startswith(b'm s="open\nm f=1 1\n')
    assert taken.endswith(b"m f=2 2\n")
    parsed = parse(bytes(taken), now_ns=7)
    assert (parsed.row_count, parsed.error_count) == (201, 1)
    stream.feed(b"3 3\n")
    assert stream.take() == b"m f=3 3\n"


def test_a_line_that_is_too_long_is_one_error_and_the_next_line_is_good() -> None:
    stream = LineStream(100)
    stream.feed(b"m f=" + b"1" * 200)
    cut = stream.take()
    assert cut == b"m f=" + b"1" * 200 + b"\n"
    stream.feed(b"1" * 5000)
    assert stream.take() == b""
    stream.feed(b"1\nm f=2 2\n")
    assert stream.take() == b"m f=2 2\n"


@pytest.mark.parametrize("size", [98, 99, 100, 101, 102, 103, 150])
@pytest.mark.parametrize("line", [b"m f=1234567890 1000", b"  \t m f=12 1000 ", b"m f=12 1000\r"])
def test_what_is_cut_off_a_line_is_never_stored_as_a_shorter_one(size: int, line: bytes) -> None:
    limits = Limits(line_bytes_max=100)
    for text in (b" " * (size - len(line)) + line, line.replace(b"m", b"m" * (size - len(line) + 1))):
        for first in range(1, len(text)):
            stream = LineStream(limits.line_bytes_max)
            taken = bytearray()
            for piece in (text[:first], text[first:] + b"\nn f=2 2\n"):
                stream.feed(piece)
                taken += stream.take()
            whole = parse(text + b"\nn f=2 2\n", now_ns=7, limits=limits)
            found = parse(bytes(taken), now_ns=7, limits=limits)
            assert [point[1:] for point in points_of(found)] == [point[1:] for point in points_of(whole)]


def test_many_small_pieces_of_one_string_are_not_scanned_again_and_again() -> None:
    stream = LineStream(1 << 20)
    stream.feed(b'm s="')
    for _ in range(200_000):
        stream.feed(b"\n")
        assert stream.take() == b""
    stream.feed(b'" 1\n' + b"#" * 80_000 + b"\n")
    assert stream.take().startswith(b'm s="\n\n')
