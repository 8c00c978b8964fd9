"""Properties of the connection: bytes cut anywhere give the same events, and any bytes give events or a violation."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import frontend
from tsdb.errors import TsdbError
from tsdb.wire import Connection, Event, GssRequest, Malformed, Query, SslRequest, Startup, Sync

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
VALUES = st.lists(st.none() | st.binary(max_size=20), max_size=4)
MESSAGES = st.one_of(
    NAMES.map(frontend.query),
    st.builds(frontend.parse, NAMES, NAMES, st.lists(st.integers(0, 2**32 - 1), max_size=3)),
    st.builds(lambda values, name: frontend.bind(values, portal=name, results=[1]), VALUES, NAMES),
    st.builds(frontend.describe, st.sampled_from("SP"), NAMES),
    st.builds(frontend.execute, NAMES, st.integers(0, 100)),
    st.builds(frontend.close, st.sampled_from("SP"), NAMES),
    st.sampled_from(
        [
            frontend.FLUSH,
            frontend.SYNC,
            frontend.COPY_DONE,
            frontend.message(b"Q", b"no end"),
            frontend.message(b"H", b"x"),
            frontend.message(b"X", b"x"),
            frontend.message(b"S", b"x"),
        ]
    ),
    st.binary(max_size=20).map(frontend.copy_data),
)
STARTUPS = st.sampled_from([
    frontend.startup(user="ada"),
    frontend.SSL_REQUEST + frontend.startup(user="ada", database="x"),
    frontend.GSSENC_REQUEST + frontend.SSL_REQUEST + frontend.startup(minor=2, user="ada", options="-c a=b"),
])  # fmt: skip


class Server:
    """Answers as little as it may, fails some statements, and turns some queries into COPY FROM STDIN."""

    def __init__(self) -> None:
        self.connection = Connection(message_bytes_max=4096)
        self.events: list[Event] = []
        self.violation: TsdbError | None = None

    def receive(self, octets: bytes) -> None:
        if self.violation is not None:
            return
        self.connection.receive(octets)
        try:
            for event in self.connection.events():
                self.events.append(event)
                self.answer(event)
        except TsdbError as error:
            self.violation = error
            self.connection.fatal(error)

    def answer(self, event: Event) -> None:
        connection = self.connection
        if isinstance(event, SslRequest | GssRequest):
            connection.refuse_encryption()
        elif isinstance(event, Startup):
            connection.authentication_ok()
            connection.ready("I")
        elif isinstance(event, Malformed):
            connection.error(event.error)
        elif isinstance(event, Query) and "c" in event.text:
            connection.copy_in_response([], binary=False)
        elif not isinstance(event, Sync) and len(self.events) % 7 == 0 and not connection.closed:
            connection.error(TsdbError("drawn"))
        if connection.servers_turn and not connection.closed:
            connection.ready("I")


def run(pieces: Iterable[bytes]) -> Server:
    server = Server()
    for piece in pieces:
        server.receive(piece)
    return server


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    borders = sorted({0, len(octets), *(place % (len(octets) + 1) for place in places)})
    return [octets[start:end] for start, end in itertools.pairwise(borders)]


@given(STARTUPS, st.lists(MESSAGES, max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_bytes_cut_anywhere_give_the_same_events(start: bytes, sent: list[bytes], places: list[int]) -> None:
    octets = start + b"".join(sent)
    whole = run([octets])
    pieces = run(cut(octets, places))
    single = run(octets[k : k + 1] for k in range(len(octets)))
    # By their texts: two errors are never equal.
    assert repr(whole.events) == repr(pieces.events) == repr(single.events)
    assert str(whole.violation) == str(pieces.violation) == str(single.violation)
    assert whole.connection.data_to_send() == pieces.connection.data_to_send() == single.connection.data_to_send()


@given(st.binary(max_size=300))
def test_any_bytes_instead_of_a_startup_are_a_violation_or_too_few(octets: bytes) -> None:
    server = run([octets])
    assert server.violation is not None or server.connection.buffered_bytes <= 10_000


@given(st.binary(max_size=300))
def test_any_bytes_after_the_startup_are_events_or_a_violation(octets: bytes) -> None:
    run([frontend.startup(user="ada"), octets])


@given(st.lists(MESSAGES, min_size=1, max_size=6), st.integers(0, 2**31), st.integers(0, 255))
def test_a_changed_byte_gives_events_or_a_violation(sent: list[bytes], place: int, octet: int) -> None:
    octets = bytearray(b"".join(sent))
    octets[place % len(octets)] = octet
    run([frontend.startup(user="ada"), bytes(octets)])


@pytest.mark.nightly
@settings(max_examples=1)
@given(st.integers(0, 2**64))
def test_a_million_changed_messages_give_events_or_violations(seed: int) -> None:
    draw = random.Random(seed)
    corpus = [frontend.query("SELECT 1"), frontend.parse("x", "s", [25]), frontend.bind([b"a", None]), frontend.SYNC,
              frontend.execute(), frontend.describe("P"), frontend.copy_data(b"x"), frontend.query("copy")]  # fmt: skip
    for _ in range(1_000_000):
        octets = bytearray(b"".join(draw.choices(corpus, k=draw.randrange(1, 5))))
        for _ in range(draw.randrange(4)):
            octets[draw.randrange(len(octets))] = draw.randrange(256)
        run([frontend.startup(user="ada"), bytes(octets)])
