"""The order of messages, as a client sees it on the wire."""

from __future__ import annotations

import pytest

from tests.session.conftest import Server
from tests.session.raw import SYNC, RawClient, Refused, bind, close, describe, execute, parse, query


def test_startup_says_what_clients_need_to_know(server: Server) -> None:
    with server.raw(application_name="app", options="-c statement_timeout=5000 -c search_path=x") as client:
        assert client.startup[0] == "Authentication"
        assert client.startup[-2:] == ["BackendKeyData", "ReadyForQuery I"]
        assert client.status["application_name"] == "app"
        assert client.status["server_version"].startswith("15.")
        assert set(client.status) == {
            "application_name", "client_encoding", "DateStyle", "default_transaction_read_only", "in_hot_standby",
            "integer_datetimes", "IntervalStyle", "is_superuser", "server_encoding", "server_version",
            "session_authorization", "standard_conforming_strings", "TimeZone",
        }  # fmt: skip
        assert client.simple("SHOW statement_timeout")[1] == "DataRow 5s"
        assert client.simple("SHOW search_path")[1] == "DataRow x"


def test_an_unknown_database_is_fatal(server: Server) -> None:
    with pytest.raises(Refused):
        server.raw("nope")


@pytest.mark.parametrize("text", ["", ";", " ; ;", "-- ping", "/* nothing */"])
def test_nothing_is_answered_by_an_empty_query_response(raw: RawClient, text: str) -> None:
    assert raw.simple(text) == ["EmptyQueryResponse", "ReadyForQuery I"]
    assert raw.ask(parse(text), bind(), execute(), SYNC) == [
        "ParseComplete", "BindComplete", "EmptyQueryResponse", "ReadyForQuery I",
    ]  # fmt: skip


def test_show_answers_with_a_row(raw: RawClient) -> None:
    assert raw.simple("show timezone") == [
        "RowDescription TimeZone:25", "DataRow UTC", "CommandComplete SHOW", "ReadyForQuery I",
    ]  # fmt: skip


def test_a_changed_setting_is_reported_before_its_command_completes(raw: RawClient) -> None:
    assert raw.simple("set time zone 'Europe/Berlin'; set timezone to default") == [
        "ParameterStatus TimeZone=Europe/Berlin", "CommandComplete SET",
        "ParameterStatus TimeZone=UTC", "CommandComplete SET", "ReadyForQuery I",
    ]  # fmt: skip


def test_a_syntax_error_anywhere_stops_the_whole_message(raw: RawClient) -> None:
    assert raw.simple("SHOW timezone; SELEC 1") == [
        'ErrorResponse ERROR 42601 syntax error at or near "SELEC" @16', "ReadyForQuery I",
    ]  # fmt: skip


def test_an_error_ends_the_message_and_fails_the_block(raw: RawClient) -> None:
    assert raw.simple("begin; show nope; show timezone") == [
        "CommandComplete BEGIN",
        'ErrorResponse ERROR 42704 unrecognized configuration parameter "nope"',
        "ReadyForQuery E",
    ]
    assert raw.simple("show timezone") == [
        "ErrorResponse ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block",
        "ReadyForQuery E",
    ]
    assert raw.simple("commit") == ["CommandComplete ROLLBACK", "ReadyForQuery I"]


def test_begin_and_commit_out_of_place_are_warnings(raw: RawClient) -> None:
    assert raw.simple("commit") == [
        "NoticeResponse WARNING 25P01 there is no transaction in progress", "CommandComplete COMMIT", "ReadyForQuery I",
    ]  # fmt: skip
    assert raw.simple("begin; start transaction isolation level serializable, read only") == [
        "CommandComplete BEGIN",
        "NoticeResponse WARNING 25001 there is already a transaction in progress",
        "CommandComplete START TRANSACTION", "ReadyForQuery T",
    ]  # fmt: skip
    assert raw.simple("rollback and chain") == ["CommandComplete ROLLBACK", "ReadyForQuery T"]
    assert raw.simple("end") == ["CommandComplete COMMIT", "ReadyForQuery I"]


def test_savepoints_bring_a_failed_block_back(raw: RawClient) -> None:
    raw.simple("begin; savepoint a; savepoint b")
    assert raw.simple("show nope")[-1] == "ReadyForQuery E"
    assert raw.simple("rollback to savepoint a") == ["CommandComplete ROLLBACK", "ReadyForQuery T"]
    assert raw.simple("release b")[0] == 'ErrorResponse ERROR 3B001 savepoint "b" does not exist'
    assert raw.simple("rollback to a; release a; commit")[-1] == "ReadyForQuery I"


def test_a_rollback_takes_settings_back(raw: RawClient) -> None:
    raw.simple("begin; set application_name to x; set local statement_timeout = '1min'")
    assert raw.simple("show statement_timeout")[1] == "DataRow 1min"
    assert raw.simple("rollback")[0] == "ParameterStatus application_name="
    assert raw.simple("show statement_timeout")[1] == "DataRow 0"


def test_describe_and_execute_a_statement_without_rows(raw: RawClient) -> None:
    messages = [parse("set work_mem = '8MB'", "s"), describe("S", "s"), bind(statement="s"), describe("P"), execute()]
    assert raw.ask(*messages, execute(), SYNC) == [
        "ParseComplete", "ParameterDescription []", "NoData", "BindComplete", "NoData", "CommandComplete SET",
        'ErrorResponse ERROR 55000 portal "" cannot be run', "ReadyForQuery I",
    ]  # fmt: skip


def test_after_an_error_everything_up_to_sync_is_skipped(raw: RawClient) -> None:
    assert raw.ask(parse("show nope"), bind(), execute(), parse("show timezone"), bind(), execute(), SYNC) == [
        "ParseComplete",
        'ErrorResponse ERROR 42704 unrecognized configuration parameter "nope"',
        "ReadyForQuery I",
    ]


def test_names_that_are_not_there_are_errors(raw: RawClient) -> None:
    assert "26000" in raw.ask(bind(statement="x"), SYNC)[0]
    assert "34000" in raw.ask(execute("x"), SYNC)[0]
    assert "26000" in raw.ask(describe("S", "x"), SYNC)[0]
    assert raw.ask(close("S", "x"), close("P", "x"), SYNC)[:2] == ["CloseComplete", "CloseComplete"]
    assert "42601" in raw.ask(parse("show all; show all"), SYNC)[0]
    assert "42P05" in raw.ask(parse("show all", "n"), parse("show all", "n"), SYNC)[1]


def test_a_query_in_a_pipeline_after_a_message_is_answered_in_order(raw: RawClient) -> None:
    raw.send(query("show timezone"), query("show datestyle"), parse("show timezone"), bind(), execute(), SYNC)
    names = [each.split()[0] for each in raw.read(12)]
    assert names == [
        *["RowDescription", "DataRow", "CommandComplete", "ReadyForQuery"] * 2,
        "ParseComplete", "BindComplete", "DataRow", "CommandComplete",
    ]  # fmt: skip
