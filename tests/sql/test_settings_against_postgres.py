"""Every setting with many values, in PostgreSQL and here: what SHOW and pg_settings say, and the errors."""

from __future__ import annotations

import psycopg
import pytest

from tsdb.errors import TsdbError
from tsdb.sql.settings import SETTINGS, Setting, checked

VALUES = (
    "on", "tru", "o", "0", "-1", "5", "1.5", "64kB", "2 GB", "10s", "1.5h", "1500us", "0x10", "010", "1e2", "foo", "",
    "99999999999", "5 foo", "2147483647", "hex", "serializable",
)  # fmt: skip
# They depend on the socket, the machine's stack, the transaction, or on how PostgreSQL was built.
APART = frozenset({"max_stack_depth", "wal_compression", "vacuum_cost_delay"})


def _compared(setting: Setting) -> bool:
    apart = setting.name in APART or setting.name.startswith(("tcp_", "transaction_", "tsdb."))
    return setting.check is None and setting.kind != "string" and setting.listed and not apart


# One statement, so that no time limit among the settings holds for another one.
_SET_AND_SHOWN = """
SELECT current_setting(shown.name), shown.setting
    FROM (SELECT set_config(%(name)s, %(value)s, true) AS value OFFSET 0) given,
    LATERAL (SELECT name, setting FROM pg_settings WHERE given.value IS NOT NULL AND name = %(name)s OFFSET 0) shown
"""


def _theirs(postgres_15: psycopg.Connection[tuple[object, ...]], name: str, value: str) -> object:
    try:
        return postgres_15.execute(_SET_AND_SHOWN, {"name": name, "value": value}).fetchone()
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary, error.diag.message_hint


def _ours(setting: Setting, value: str) -> object:
    try:
        shown = checked(setting.name, value)[1]
    except TsdbError as error:
        return error.sqlstate, error.message, error.hint
    return shown, setting.in_unit(shown)


@pytest.mark.postgres
def test_values_are_read_shown_and_refused_as_postgresql_does(
    postgres_15: psycopg.Connection[tuple[object, ...]],
) -> None:
    compared = [setting for setting in SETTINGS.values() if _compared(setting)]
    assert len(compared) > 200
    different = [
        (setting.name, value, theirs, ours)
        for setting in compared
        for value in VALUES
        if (theirs := _theirs(postgres_15, setting.name, value)) != (ours := _ours(setting, value))
    ]
    assert different == []


@pytest.mark.postgres
def test_every_setting_of_postgresql_is_known(postgres_15: psycopg.Connection[tuple[object, ...]]) -> None:
    theirs = {str(name) for (name,) in postgres_15.execute("SELECT name FROM pg_settings").fetchall()}
    files = {"config_file", "hba_file", "ident_file", "data_directory", "external_pid_file"}
    assert theirs - {setting.name for setting in SETTINGS.values()} == files
