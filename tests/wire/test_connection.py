"""The connection's states: what a client may send when, and what an answer changes."""

from __future__ import annotations

import pytest

from tests.wire import frontend
from tests.wire.frontend import connected, error_fields, letters, split
from tsdb.errors import AdminShutdown, FeatureNotSupported, ProtocolViolation, TsdbError, UndefinedTable
from tsdb.types import INT8, TEXT
from tsdb.wire import (
    Bind,
    Close,
    Connection,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    FieldDescription,
    Flush,
    Malformed,
    Parse,
    Password,
    Query,
    SaslInitialResponse,
    SaslResponse,
    Startup,
    Sync,
    Terminate,
    format_codes,
)

ERROR = UndefinedTable('relation "x" does not exist', position=15)


def test_a_simple_query_is_answered_up_to_ready() -> None:
    connection = connected()
    connection.receive(frontend.query("SELECT 1"))
    assert connection.next_event() == Query("SELECT 1")
    connection.row_description([FieldDescription("n", INT8)])
    connection.data_rows(b"D\0\0\0\x0b\0\1\0\0\0\x011")
    connection.command_complete("SELECT 1")
    connection.ready("I")
    assert letters(connection) == "TDCZ"
    assert connection.idle


def test_the_next_message_waits_for_ready() -> None:
    connection = connected()
    connection.receive(frontend.query("SELECT 1") + frontend.query("SELECT 2"))
    assert connection.next_event() == Query("SELECT 1")
    assert connection.servers_turn
    assert connection.next_event() is None
    connection.ready("I")
    assert connection.next_event() == Query("SELECT 2")


def test_an_extended_batch_yields_its_messages_and_ends_with_sync() -> None:
    connection = connected()
    connection.receive(
        frontend.parse("SELECT $1", "s", [25])
        + frontend.describe("S", "s")
        + frontend.bind([b"x", None], portal="p", statement="s", formats=[0, 1], results=[1])
        + frontend.execute("p", 10)
        + frontend.close("P", "p")
        + frontend.FLUSH
        + frontend.SYNC
    )
    assert list(connection.events()) == [
        Parse("s", "SELECT $1", (25,)),
        Describe("S", "s"),
        Bind("p", "s", (0, 1), (b"x", None), (1,)),
        Execute("p", 10),
        Close("P", "p"),
        Flush(),
        Sync(),
    ]
    assert connection.servers_turn
    connection.ready("T")
    assert split(connection.data_to_send()) == [("Z", b"T")]


def test_after_an_error_everything_up_to_sync_is_skipped() -> None:
    connection = connected()
    connection.receive(frontend.parse("SELECT x") + frontend.bind() + frontend.execute())
    assert isinstance(connection.next_event(), Parse)
    connection.error(ERROR)
    assert connection.next_event() is None
    connection.receive(frontend.query("SELECT 1") + frontend.copy_data(b"x") + frontend.FLUSH + frontend.SYNC)
    assert connection.next_event() == Sync()
    connection.ready("E")
    connection.receive(frontend.query("SELECT 2"))
    assert connection.next_event() == Query("SELECT 2")
    assert letters(connection) == "EZ"


def test_skipped_messages_are_not_read() -> None:
    connection = connected()
    connection.receive(frontend.parse("SELECT x"))
    connection.next_event()
    connection.error(ERROR)
    connection.receive(frontend.message(b"B", b"no such body") + frontend.SYNC)
    assert connection.next_event() == Sync()


def test_a_client_may_leave_while_its_messages_are_skipped() -> None:
    connection = connected()
    connection.receive(frontend.parse("SELECT x"))
    connection.next_event()
    connection.error(ERROR)
    connection.receive(frontend.TERMINATE)
    assert connection.next_event() == Terminate()
    assert connection.closed


def test_an_error_of_a_simple_query_skips_nothing() -> None:
    connection = connected()
    connection.receive(frontend.query("SELECT x") + frontend.query("SELECT 1"))
    connection.next_event()
    connection.error(ERROR)
    connection.ready("I")
    assert connection.next_event() == Query("SELECT 1")


def test_an_error_carries_its_fields() -> None:
    connection = connected()
    connection.receive(frontend.query("SELECT * FROM x"))
    connection.next_event()
    connection.error(UndefinedTable("no x", detail="d", hint="h", position=15))
    [(letter, body)] = split(connection.data_to_send())
    assert letter == "E"
    assert error_fields(body) == {
        "S": "ERROR", "V": "ERROR", "C": "42P01", "M": "no x", "D": "d", "H": "h", "P": "15",
    }  # fmt: skip


def test_a_zero_character_in_a_message_does_not_end_it() -> None:
    connection = connected()
    connection.receive(frontend.query("SELECT 1"))
    connection.next_event()
    connection.notice(TsdbError("a\0b"))
    [(letter, body)] = split(connection.data_to_send())
    assert letter == "N"
    assert error_fields(body)["M"] == "a\ufffdb"


def test_copy_in_by_a_simple_query() -> None:
    connection = connected()
    connection.receive(
        frontend.query("COPY t FROM STDIN") + frontend.copy_data(b"1\n") + frontend.FLUSH + frontend.SYNC
    )
    connection.receive(frontend.copy_data(b"2\n") + frontend.COPY_DONE + frontend.query("SELECT 1"))
    assert isinstance(connection.next_event(), Query)
    connection.copy_in_response([0, 0], binary=False)
    assert list(connection.events()) == [CopyData(b"1\n"), CopyData(b"2\n"), CopyDone()]
    connection.command_complete("COPY 2")
    connection.ready("I")
    assert connection.next_event() == Query("SELECT 1")


def test_a_failed_copy_leaves_its_data_unread() -> None:
    connection = connected()
    connection.receive(frontend.query("COPY t FROM STDIN") + frontend.copy_data(b"bad"))
    connection.next_event()
    connection.copy_in_response([0], binary=False)
    assert connection.next_event() == CopyData(b"bad")
    connection.error(ERROR)
    connection.ready("I")
    connection.receive(frontend.copy_data(b"more") + frontend.COPY_DONE + frontend.query("SELECT 1"))
    assert connection.next_event() == Query("SELECT 1")


def test_copy_in_by_the_extended_protocol_ignores_the_early_sync() -> None:
    connection = connected()
    connection.receive(frontend.parse("COPY t FROM STDIN") + frontend.bind() + frontend.execute() + frontend.SYNC)
    for expected in (Parse, Bind, Execute):
        assert isinstance(connection.next_event(), expected)
    connection.copy_in_response([0], binary=False)
    connection.receive(frontend.copy_data(b"1\n") + frontend.COPY_DONE + frontend.SYNC)
    assert list(connection.events()) == [CopyData(b"1\n"), CopyDone(), Sync()]


def test_a_copy_that_fails_in_the_extended_protocol_skips_to_sync() -> None:
    connection = connected()
    connection.receive(frontend.parse("COPY t FROM STDIN") + frontend.bind() + frontend.execute())
    list(connection.events())
    connection.copy_in_response([0], binary=False)
    connection.error(ERROR)
    connection.receive(frontend.copy_data(b"1\n") + frontend.COPY_DONE + frontend.SYNC)
    assert connection.next_event() == Sync()


def test_a_client_may_give_up_its_copy() -> None:
    connection = connected()
    connection.receive(frontend.query("COPY t FROM STDIN"))
    connection.next_event()
    connection.copy_in_response([0], binary=True)
    connection.receive(frontend.message(b"f", b"no file\0"))
    assert connection.next_event() == CopyFail("no file")
    connection.error(ERROR)
    connection.ready("I")


def test_a_command_within_a_copy_is_a_violation() -> None:
    connection = connected()
    connection.receive(frontend.query("COPY t FROM STDIN"))
    connection.next_event()
    connection.copy_in_response([0], binary=False)
    connection.receive(frontend.query("SELECT 1"))
    with pytest.raises(ProtocolViolation, match="copy in simple"):
        connection.next_event()


def test_a_password_is_asked_for_and_given() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada"))
    assert isinstance(connection.next_event(), Startup)
    connection.authentication_cleartext_password()
    connection.receive(frontend.message(b"p", b"secret\0"))
    assert connection.next_event() == Password("secret")
    assert connection.servers_turn


def test_no_session_begins_without_authentication() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada"))
    connection.next_event()
    with pytest.raises(AssertionError):
        connection.parameter_status("TimeZone", "UTC")
    with pytest.raises(AssertionError):
        connection.ready("I")


def test_sasl_goes_back_and_forth() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada"))
    connection.next_event()
    connection.authentication_sasl(["SCRAM-SHA-256"])
    connection.receive(frontend.message(b"p", b"SCRAM-SHA-256\0\0\0\0\x03abc"))
    assert connection.next_event() == SaslInitialResponse("SCRAM-SHA-256", b"abc")
    connection.authentication_sasl_continue(b"r=1")
    connection.receive(frontend.message(b"p", b"c=2"))
    assert connection.next_event() == SaslResponse(b"c=2")
    connection.authentication_sasl_final(b"v=3")
    connection.authentication_ok()
    connection.ready("I")
    assert letters(connection) == "RRRRZ"


def test_a_query_before_authentication_is_a_violation() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada") + frontend.query("SELECT 1"))
    connection.next_event()
    connection.authentication_cleartext_password()
    with pytest.raises(ProtocolViolation):
        connection.next_event()


@pytest.mark.parametrize("letter", [b"z", b"\0", b"\xff", b"R", b"p"])
def test_unknown_and_misplaced_types_are_violations(letter: bytes) -> None:
    connection = connected()
    connection.receive(letter)
    with pytest.raises(ProtocolViolation):
        connection.next_event()


@pytest.mark.parametrize(
    ("head", "limits"),
    [
        (b"Q\0\0\0\3", {}),
        (b"Q\x40\0\0\0", {}),
        (b"Q\0\0\x04\x01", {"message_bytes_max": 1024}),
        (b"S\0\0\x40\0", {}),
        (b"Q\xff\xff\xff\xff", {}),
    ],
)
def test_lengths_out_of_bounds_are_violations_before_the_body_comes(head: bytes, limits: dict[str, int]) -> None:
    connection = connected(**limits)
    connection.receive(head)
    with pytest.raises(ProtocolViolation, match="length"):
        connection.next_event()


def test_before_authentication_messages_are_small() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada"))
    connection.next_event()
    connection.authentication_cleartext_password()
    connection.receive(b"p\0\0\x40\0")
    with pytest.raises(ProtocolViolation, match="length"):
        connection.next_event()


@pytest.mark.parametrize(
    ("octets", "sqlstate"),
    [
        (frontend.message(b"Q", b"no end"), "08P01"),
        (frontend.message(b"Q", b"a\0b\0"), "08P01"),
        (frontend.message(b"Q", b"\xff\0"), "22021"),
        (frontend.message(b"P", b"s\0"), "08P01"),
        (frontend.message(b"P", b"s\0t\0\0\2\0\0\0\0"), "08P01"),
        (frontend.message(b"B", b"\0\0\0\1\0\2\0\0\0\0"), "22023"),
        (frontend.message(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"), "08P01"),
        (frontend.message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), "08P01"),
        (frontend.bind([b"x"], formats=[0, 1]), "08P01"),
        (frontend.message(b"D", b"X\0"), "08P01"),
        (frontend.message(b"C", b""), "08P01"),
        (frontend.message(b"E", b"\0\0"), "08P01"),
        (frontend.message(b"S", b"x"), "08P01"),
        (frontend.message(b"H", b"x"), "08P01"),
        (frontend.message(b"F", b"\0\0\0\1"), "0A000"),
    ],
)
def test_a_wrong_body_is_an_error_like_any_other(octets: bytes, sqlstate: str) -> None:
    connection = connected()
    connection.receive(octets)
    event = connection.next_event()
    assert isinstance(event, Malformed)
    assert event.error.sqlstate == sqlstate
    connection.error(event.error)
    if connection.servers_turn:
        connection.ready("I")
    else:
        connection.receive(frontend.SYNC)
        assert connection.next_event() == Sync()
        connection.ready("I")
    assert connection.idle


def test_a_client_leaves_whatever_else_it_says() -> None:
    connection = connected()
    connection.receive(frontend.message(b"X", b"bye"))
    assert connection.next_event() == Terminate()


def test_a_wrong_password_message_ends_the_connection() -> None:
    connection = Connection()
    connection.receive(frontend.startup(user="ada"))
    connection.next_event()
    connection.authentication_cleartext_password()
    connection.receive(frontend.message(b"p", b"no end"))
    with pytest.raises(ProtocolViolation):
        connection.next_event()


def test_the_fast_path_is_refused_and_ready_follows() -> None:
    connection = connected()
    connection.receive(frontend.message(b"F", b"\0\0\0\1"))
    event = connection.next_event()
    assert isinstance(event, Malformed)
    assert isinstance(event.error, FeatureNotSupported)
    assert connection.servers_turn


def test_an_answer_out_of_turn_is_a_defect() -> None:
    connection = connected()
    with pytest.raises(AssertionError):
        connection.ready("I")
    connection.receive(frontend.parse("SELECT 1"))
    connection.next_event()
    with pytest.raises(AssertionError):
        connection.ready("I")


def test_fatal_is_the_last_word() -> None:
    connection = connected()
    connection.fatal(AdminShutdown("terminating connection due to administrator command"))
    [(_, body)] = split(connection.data_to_send())
    assert error_fields(body)["S"] == "FATAL"
    assert error_fields(body)["C"] == "57P01"
    connection.receive(frontend.query("SELECT 1"))
    assert connection.next_event() is None
    assert connection.closed
    connection.fatal(ERROR)
    assert connection.data_to_send() == b""


def test_settings_and_notifications_may_be_told_between_commands() -> None:
    connection = connected()
    connection.parameter_status("TimeZone", "UTC")
    connection.notification(7, "channel", "payload")
    assert split(connection.data_to_send()) == [("S", b"TimeZone\0UTC\0"), ("A", b"\0\0\0\7channel\0payload\0")]


def test_the_answers_of_the_extended_protocol() -> None:
    connection = connected()
    connection.receive(frontend.parse("SELECT 1"))
    connection.next_event()
    connection.parse_complete()
    connection.parameter_description([INT8, TEXT])
    connection.row_description([FieldDescription("n", INT8, 1, 16384, 2, -1)])
    connection.no_data()
    connection.bind_complete()
    connection.portal_suspended()
    connection.empty_query()
    connection.close_complete()
    answers = dict(split(connection.data_to_send()))
    assert "".join(answers) == "1tTn2sI3"
    assert answers["t"] == b"\0\2\0\0\0\x14\0\0\0\x19"
    assert answers["T"] == b"\0\1n\0\0\0\x40\0\0\2\0\0\0\x14\0\x08\xff\xff\xff\xff\0\1"


def test_copy_out_is_told_with_its_formats() -> None:
    connection = connected()
    connection.receive(frontend.query("COPY t TO STDOUT (FORMAT binary)"))
    connection.next_event()
    connection.copy_out_response([1, 1], binary=True)
    connection.copy_data(b"PGCOPY")
    connection.copy_done()
    assert split(connection.data_to_send()) == [("H", b"\1\0\2\0\1\0\1"), ("d", b"PGCOPY"), ("c", b"")]


def test_format_codes_spread_over_columns() -> None:
    assert format_codes((), 2) == (0, 0)
    assert format_codes((1,), 2) == (1, 1)
    assert format_codes((0, 1), 2) == (0, 1)
    with pytest.raises(ProtocolViolation):
        format_codes((0, 1), 3)
