"""Startup packets: requests before a session, its parameters, other protocols on the port."""

from __future__ import annotations

import pytest

from tests.wire import frontend
from tsdb.errors import (
    FeatureNotSupported,
    InvalidAuthorizationSpecification,
    ProtocolViolation,
    SqlSyntaxError,
    TsdbError,
)
from tsdb.wire import CancelRequest, Connection, GssRequest, SslRequest, Startup
from tsdb.wire.startup import parse_options


def started(octets: bytes) -> Startup:
    connection = Connection()
    connection.receive(octets)
    event = connection.next_event()
    assert isinstance(event, Startup)
    return event


def refused(octets: bytes) -> TsdbError:
    connection = Connection()
    connection.receive(octets)
    with pytest.raises(TsdbError) as caught:
        connection.next_event()
    connection.fatal(caught.value)
    assert connection.closed
    return caught.value


def test_a_startup_message_names_user_database_and_parameters() -> None:
    startup = started(frontend.startup(user="ada", database="metrics", application_name="psql"))
    assert (startup.user, startup.database) == ("ada", "metrics")
    assert startup.parameters == {"application_name": "psql"}
    assert startup.settings == ()


def test_the_database_is_named_like_the_user_unless_it_is_named() -> None:
    assert started(frontend.startup(user="ada")).database == "ada"
    assert started(frontend.startup(user="ada", database="")).database == "ada"


def test_options_become_settings() -> None:
    startup = started(frontend.startup(user="ada", options="-c statement_timeout=5000 -c search_path=x"))
    assert startup.settings == (("statement_timeout", "5000"), ("search_path", "x"))
    assert "options" not in startup.parameters


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("", ()),
        ("  ", ()),
        ("-c a=b", (("a", "b"),)),
        ("-ca=b", (("a", "b"),)),
        ("--search-path=x", (("search_path", "x"),)),
        ("-c a=", (("a", ""),)),
        ("-c a=b=c", (("a", "b=c"),)),
        ("-c a=b\\ c\\\\d", (("a", "b c\\d"),)),
        ("-c DateStyle=ISO,\\ MDY -c geqo=off", (("DateStyle", "ISO, MDY"), ("geqo", "off"))),
    ],
)
def test_options_are_split_as_postgresql_splits_them(options: str, settings: tuple[tuple[str, str], ...]) -> None:
    assert parse_options(options) == settings


@pytest.mark.parametrize("options", ["-d", "x", "-c", "-c a", "-c =b", "--a", "--"])
def test_other_options_are_refused(options: str) -> None:
    with pytest.raises(SqlSyntaxError):
        parse_options(options)


def test_a_newer_minor_version_and_unknown_protocol_options_are_negotiated_down() -> None:
    connection = Connection()
    connection.receive(frontend.startup(minor=2, user="ada", pq_compression="zstd"))
    event = connection.next_event()
    assert isinstance(event, Startup)
    assert event.parameters == {}
    [(letter, body)] = frontend.split(connection.data_to_send())
    assert letter == "v"
    assert body == (0x30000).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"_pq_.compression\0"


def test_protocol_3_0_is_not_negotiated() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada"))
    connection.next_event()
    assert connection.data_to_send() == b""


def test_encryption_is_refused_with_n_and_the_startup_goes_on() -> None:
    connection = Connection()
    connection.receive(frontend.GSSENC_REQUEST)
    assert isinstance(connection.next_event(), GssRequest)
    connection.refuse_encryption()
    connection.receive(frontend.SSL_REQUEST)
    assert isinstance(connection.next_event(), SslRequest)
    assert connection.next_event() is None
    connection.refuse_encryption()
    assert connection.data_to_send() == b"NN"
    connection.receive(frontend.startup(user="ada"))
    assert isinstance(connection.next_event(), Startup)


def test_encryption_is_asked_for_once() -> None:
    connection = Connection()
    connection.receive(frontend.SSL_REQUEST)
    connection.next_event()
    connection.refuse_encryption()
    connection.receive(frontend.SSL_REQUEST)
    with pytest.raises(ProtocolViolation, match="twice"):
        connection.next_event()


def test_bytes_before_the_tls_handshake_are_refused() -> None:
    connection = Connection()
    connection.receive(frontend.SSL_REQUEST + frontend.startup(user="mallory"))
    assert isinstance(connection.next_event(), SslRequest)
    with pytest.raises(ProtocolViolation, match="unencrypted"):
        connection.accept_encryption()


def test_a_cancel_request_ends_its_connection() -> None:
    connection = Connection()
    connection.receive(frontend.cancel_request(7, 0xFFFFFFFF))
    assert connection.next_event() == CancelRequest(7, 0xFFFFFFFF)
    assert connection.closed
    assert connection.next_event() is None


def test_a_startup_without_a_user_is_refused() -> None:
    assert isinstance(refused(frontend.startup(database="x")), InvalidAuthorizationSpecification)


def test_replication_is_refused_but_not_its_absence() -> None:
    assert isinstance(refused(frontend.startup(user="ada", replication="database")), FeatureNotSupported)
    assert started(frontend.startup(user="ada", replication="false")).user == "ada"


@pytest.mark.parametrize("major", [0, 2, 4])
def test_other_protocols_of_postgresql_are_refused(major: int) -> None:
    error = refused(frontend.packet((major << 16).to_bytes(4, "big") + b"user\0ada\0\0"))
    assert error.message == f"unsupported frontend protocol {major}.0: server supports 3.0"


@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0\0\x07\0\3\0",
        b"\x7f\0\0\0",
        (10_001).to_bytes(4, "big"),
        frontend.packet((0x30000).to_bytes(4, "big") + b"user\0ada"),
        frontend.packet((0x30000).to_bytes(4, "big") + b"user\0ada\0\0rest"),
        frontend.packet((80877103).to_bytes(4, "big") + b"x"),
        frontend.packet((80877102).to_bytes(4, "big") + b"x"),
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_startup_packet_is_a_violation(octets: bytes) -> None:
    assert isinstance(refused(octets), ProtocolViolation)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"POST /write HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n"])
def test_an_http_client_is_told_so_in_http(line: bytes) -> None:
    connection = Connection()
    connection.receive(line)
    with pytest.raises(ProtocolViolation) as caught:
        connection.next_event()
    connection.fatal(caught.value)
    answer = connection.data_to_send()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"not HTTP" in answer


def test_text_that_is_not_utf8_is_refused() -> None:
    assert refused(frontend.packet((0x30000).to_bytes(4, "big") + b"user\0\xff\0\0")).sqlstate == "22021"
