"""The settings a session can SET and SHOW: PostgreSQL's names, types, units, ranges and defaults, in one list.

``postgres15.tsv`` is ``pg_settings`` of PostgreSQL 15 (without files and directories); ``setting`` reads it and checks
values as guc.c does. ``own`` says what differs here: the values that are ours, and the settings that take effect only
for some values and are refused (0A000) for others. ``table`` is the list. What PostgreSQL knows and has no meaning here
is accepted and kept, so that clients which set it go on.

A value is kept as SHOW prints it (``4MB``); ``pg_settings`` shows it in the setting's unit (4096).

What is not here: what one session has SET (``tsdb.session.variables``).

Source: PostgreSQL 15 manual, chapter 20; 55.2.7 (ParameterStatus); guc.c.
"""

from __future__ import annotations

from tsdb.sql.settings.own import SERVER_VERSION, SERVER_VERSION_NUM, SUPERUSERS_ONLY, hours_zone, iana_name
from tsdb.sql.settings.setting import Setting
from tsdb.sql.settings.table import SETTINGS, checked, find, is_custom

__all__ = [
    "SERVER_VERSION",
    "SERVER_VERSION_NUM",
    "SETTINGS",
    "SUPERUSERS_ONLY",
    "Setting",
    "checked",
    "find",
    "hours_zone",
    "iana_name",
    "is_custom",
]
