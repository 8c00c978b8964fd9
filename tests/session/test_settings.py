"""SET, SHOW and RESET: values and their checks."""

from __future__ import annotations

import pytest

from tsdb.errors import CantChangeRuntimeParam, FeatureNotSupported, InvalidParameterValue, TsdbError, UndefinedObject
from tsdb.session.variables import Variables


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("statement_timeout", "5000", "5s"),
        ("statement_timeout", "90s", "90s"),
        ("statement_timeout", "1500", "1500ms"),
        ("statement_timeout", "0", "0"),
        ("statement_timeout", "2min", "2min"),
        ("TimeZone", "europe/berlin", "Europe/Berlin"),
        ("timezone", "utc", "UTC"),
        ("timezone", "-7", "<-07>+07"),
        ("client_encoding", "'utf-8'", "UTF8"),
        ("client_encoding", "UNICODE", "UTF8"),
        ("datestyle", "ISO", "ISO, MDY"),
        ("datestyle", "iso, mdy", "ISO, MDY"),
        ("extra_float_digits", "3", "3"),
        ("standard_conforming_strings", "true", "on"),
        ("tsdb.prune", "off", "off"),
        ("tsdb.acks", "ALL", "all"),
        ("tsdb.acks", "01", "1"),
        ("tsdb.acks", "default", "default"),
        ("default_transaction_isolation", "SERIALIZABLE", "serializable"),
    ],
)
def test_a_value_is_shown_as_postgresql_shows_it(name: str, value: str, shown: str) -> None:
    variables = Variables()
    variables.set(name, value)
    assert variables.get(name.upper()) == shown
    variables.reset(name)
    assert variables.get(name) == Variables().get(name)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("nope", "1", UndefinedObject),
        ("tsdb.nope", "1", UndefinedObject),
        ("server_version", "16", CantChangeRuntimeParam),
        ("statement_timeout", "soon", InvalidParameterValue),
        ("statement_timeout", "-1", InvalidParameterValue),
        ("timezone", "Mars/Olympus", InvalidParameterValue),
        ("timezone", "5.5", InvalidParameterValue),
        ("client_encoding", "SJIS", FeatureNotSupported),
        ("datestyle", "German", FeatureNotSupported),
        ("datestyle", "Roman", InvalidParameterValue),
        ("datestyle", "SQL, DMY", FeatureNotSupported),
        ("extra_float_digits", "4", InvalidParameterValue),
        ("standard_conforming_strings", "off", FeatureNotSupported),
        ("row_security", "maybe", InvalidParameterValue),
        ("tsdb.acks", "most", InvalidParameterValue),
        ("tsdb.acks", "-1", InvalidParameterValue),
        ("tsdb.acks", "100", InvalidParameterValue),
        ("tsdb.write_token", "1:1.1", CantChangeRuntimeParam),
        ("client_min_messages", "loud", InvalidParameterValue),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: str, error: type[TsdbError]) -> None:
    with pytest.raises(error):
        Variables().set(name, value)


def test_reset_goes_back_to_what_the_client_started_with() -> None:
    variables = Variables()
    variables.set_start("application_name", "psql")
    variables.set("application_name", "other")
    variables.reset_all()
    assert variables.get("application_name") == "psql"


def test_set_local_ends_with_its_transaction() -> None:
    variables = Variables()
    variables.begin()
    variables.set("work_mem", "1MB")
    variables.set("work_mem", "2MB", local=True)
    assert variables.get("work_mem") == "2MB"
    variables.end(committed=True)
    assert variables.get("work_mem") == "1MB"


def test_rolling_back_to_a_savepoint_takes_its_settings_back() -> None:
    variables = Variables()
    variables.begin()
    variables.set("work_mem", "1MB")
    variables.savepoint()
    variables.set("work_mem", "2MB")
    variables.rollback_to(1)
    assert variables.get("work_mem") == "1MB"
    variables.end(committed=False)
    assert variables.get("work_mem") == "4MB"


def test_the_isolation_of_a_transaction_is_the_default_one_until_it_is_set() -> None:
    variables = Variables()
    variables.set("default_transaction_isolation", "serializable")
    assert variables.get("transaction_isolation") == "serializable"


def test_a_clients_own_setting_is_known_once_it_was_set() -> None:
    variables = Variables()
    with pytest.raises(UndefinedObject):
        variables.get("my.own")
    variables.set("my.own", "42")
    assert variables.get("My.Own") == "42"
    variables.reset("my.own")
    assert variables.get("my.own") == ""
    with pytest.raises(TsdbError, match="invalid configuration parameter name"):
        variables.set("my.1", "x")
