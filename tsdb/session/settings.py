"""The settings a session can SET and SHOW: one table with PostgreSQL's names, defaults and checks.

A check turns what was written into the value that SHOW prints, or raises. What PostgreSQL knows but has no meaning
here is accepted and kept, so that clients which set it go on. ``reported`` settings are sent as ParameterStatus at the
start and whenever they change.

Source: PostgreSQL 15 manual, chapter 20; 55.2.7 (ParameterStatus); guc.c (units, error texts).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tsdb.errors import CantChangeRuntimeParam, InvalidParameterValue, UndefinedObject
from tsdb.zones import zone

SERVER_VERSION = "15.18"
SERVER_VERSION_NUM = "150018"

Check = Callable[[str, str], str]

_TRUE = ("on", "true", "yes", "1", "t", "tr", "tru", "y", "ye")
_FALSE = ("off", "false", "no", "0", "f", "fa", "fal", "fals", "n", "of")


@dataclass(frozen=True, slots=True)
class Setting:
    """``name`` as SHOW ALL prints it; ``fixed`` ones cannot be set."""

    name: str
    default: str
    check: Check
    reported: bool = False
    fixed: bool = False
    description: str = ""


def _text(_: str, value: str) -> str:
    return value


def _bool(name: str, value: str) -> str:
    word = value.strip().lower()
    if word in _TRUE:
        return "on"
    if word in _FALSE:
        return "off"
    raise InvalidParameterValue(f'parameter "{name}" requires a Boolean value')


def _one_of(*words: str) -> Check:
    def check(name: str, value: str) -> str:
        if value.lower() not in words:
            raise InvalidParameterValue(
                f'invalid value for parameter "{name}": "{value}"', hint=f"Available values: {', '.join(words)}."
            )
        return value.lower()

    return check


def _integer(low: int, high: int) -> Check:
    def check(name: str, value: str) -> str:
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
            raise InvalidParameterValue(f'invalid value for parameter "{name}": "{value}"')
        if not low <= int(value) <= high:
            raise InvalidParameterValue(
                f'{int(value)} is outside the valid range for parameter "{name}" ({low} .. {high})'
            )
        return str(int(value))

    return check


_TIME_UNITS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_QUANTITY = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def milliseconds(value: str) -> int | None:
    """``5s``, ``100`` (ms), ``1min``; None if it is no time."""
    found = _QUANTITY.fullmatch(value)
    if found is None or (found[2] and found[2] not in _TIME_UNITS):
        return None
    return round(float(found[1]) * _TIME_UNITS[found[2] or "ms"])


def _timeout(name: str, value: str) -> str:
    count = milliseconds(value)
    if count is None:
        raise InvalidParameterValue(
            f'invalid value for parameter "{name}": "{value}"',
            hint='Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".',
        )
    if not 0 <= count <= 2**31 - 1:
        raise InvalidParameterValue(f'{count} ms is outside the valid range for parameter "{name}" (0 .. 2147483647)')
    for unit in ("d", "h", "min", "s"):
        if count and count % _TIME_UNITS[unit] == 0:
            return f"{count // int(_TIME_UNITS[unit])}{unit}"
    return f"{count}ms" if count else "0"


_OFFSET = re.compile(r"<?([+-])(0\d|1[0-4])(?::?00)?(?:>.*)?")


def _time_zone(name: str, value: str) -> str:
    text = value.strip().strip("'")
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        text = hours_zone(float(text))
    if text.lower() in ("default", "local"):
        return "UTC"
    try:
        found = zone(text).name
        iana_name(found)
    except InvalidParameterValue:
        raise InvalidParameterValue(f'invalid value for parameter "{name}": "{value}"') from None
    return found.upper() if found in ("utc", "gmt") else found


def iana_name(shown: str) -> str:
    """The IANA name that queries know a zone by: a fixed offset is one of ``Etc``, whose signs are POSIX's."""
    if not shown.startswith(("<", "+", "-")):
        return shown
    offset = _OFFSET.fullmatch(shown)
    if offset is None:
        raise InvalidParameterValue(f'time zone "{shown}" is not supported', hint="Offsets are whole hours up to 14.")
    hours = int(offset[2])
    return f"Etc/GMT{'-' if offset[1] == '+' else '+'}{hours}" if hours else "Etc/GMT"


def hours_zone(hours: float) -> str:
    """A number of hours east of Greenwich, as PostgreSQL shows it: ``<-07>+07``."""
    minutes = round(hours * 60)
    if abs(minutes) > 15 * 60:
        raise InvalidParameterValue(f'invalid value for parameter "TimeZone": "{hours:g}"')
    size = f"{abs(minutes) // 60:02d}" + (f":{abs(minutes) % 60:02d}" if minutes % 60 else "")
    return f"<{'-' if minutes < 0 else '+'}{size}>{'+' if minutes < 0 else '-'}{size}"


def _client_encoding(name: str, value: str) -> str:
    folded = re.sub(r"[^a-z0-9]", "", value.lower())
    if folded in ("utf8", "unicode"):
        return "UTF8"
    if folded in ("sqlascii", "latin1", "iso88591", "win1252", "usascii", "ascii"):
        raise InvalidParameterValue(
            f"conversion between {value} and UTF8 is not supported", hint="Use the client encoding UTF8."
        )
    raise InvalidParameterValue(f'invalid value for parameter "{name}": "{value}"')


def _date_style(name: str, value: str) -> str:
    words = [word.strip().lower() for word in value.replace('"', "").split(",") if word.strip()]
    order = "MDY"
    for word in words:
        if word in ("mdy", "us", "noneuro", "noneuropean"):
            order = "MDY"
        elif word in ("sql", "postgres", "german", "dmy", "ymd", "euro", "european"):
            raise InvalidParameterValue(
                f'invalid value for parameter "{name}": "{value}"', hint="Dates are always in ISO style, order MDY."
            )
        elif word not in ("iso", "default"):
            raise InvalidParameterValue(f'invalid value for parameter "{name}": "{value}"')
    return f"ISO, {order}"


def _standard_strings(name: str, value: str) -> str:
    if _bool(name, value) == "off":
        raise InvalidParameterValue(f'parameter "{name}" is always on', hint="Write backslash escapes as E'…'.")
    return "on"


_MESSAGE_LEVELS = ("debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error")
_ISOLATION = ("serializable", "repeatable read", "read committed", "read uncommitted")

_TABLE = (
    Setting("application_name", "", _text, reported=True, description="The client's name for itself."),
    Setting("backslash_quote", "safe_encoding", _one_of("safe_encoding", "on", "off")),
    Setting("bytea_output", "hex", _one_of("hex"), description="Output form of bytea."),
    Setting("check_function_bodies", "on", _bool),
    Setting("client_encoding", "UTF8", _client_encoding, reported=True, description="Always UTF8."),
    Setting("client_min_messages", "notice", _one_of(*_MESSAGE_LEVELS), description="Least level of messages sent."),
    Setting("constraint_exclusion", "partition", _text),
    Setting("DateStyle", "ISO, MDY", _date_style, reported=True, description="Always ISO, MDY."),
    Setting("default_table_access_method", "heap", _text),
    Setting("default_tablespace", "", _text),
    Setting("default_transaction_deferrable", "off", _bool),
    Setting("default_transaction_isolation", "read committed", _one_of(*_ISOLATION)),
    Setting("default_transaction_read_only", "off", _bool, reported=True),
    Setting("enable_seqscan", "on", _bool),
    Setting("escape_string_warning", "on", _bool),
    Setting("extra_float_digits", "1", _integer(-15, 3), description="Floats are always shown exactly."),
    Setting("geqo", "on", _bool),
    Setting("idle_in_transaction_session_timeout", "0", _timeout),
    Setting("idle_session_timeout", "0", _timeout),
    Setting("in_hot_standby", "off", _bool, reported=True, fixed=True),
    Setting("integer_datetimes", "on", _bool, reported=True, fixed=True),
    Setting("IntervalStyle", "postgres", _one_of("postgres"), reported=True, description="Output form of interval."),
    Setting("is_superuser", "on", _bool, reported=True, fixed=True),
    Setting("jit", "off", _bool),
    Setting("lc_collate", "C", _text, fixed=True),
    Setting("lc_ctype", "C", _text, fixed=True),
    Setting("lc_messages", "C", _text),
    Setting("lc_monetary", "C", _text),
    Setting("lc_numeric", "C", _text),
    Setting("lc_time", "C", _text),
    Setting("lock_timeout", "0", _timeout),
    Setting("log_statement", "none", _text),
    Setting("max_identifier_length", "255", _text, fixed=True),
    Setting("max_index_keys", "32", _text, fixed=True),
    Setting("password_encryption", "scram-sha-256", _text),
    Setting("quote_all_identifiers", "off", _bool),
    Setting("row_security", "on", _bool),
    Setting("search_path", '"$user", public', _text, description="Tables are in the schema public."),
    Setting("server_encoding", "UTF8", _text, reported=True, fixed=True),
    Setting("server_version", SERVER_VERSION, _text, reported=True, fixed=True),
    Setting("server_version_num", SERVER_VERSION_NUM, _text, fixed=True),
    Setting("session_authorization", "", _text, reported=True, fixed=True),
    Setting("session_replication_role", "origin", _text),
    Setting("standard_conforming_strings", "on", _standard_strings, reported=True),
    Setting("statement_timeout", "0", _timeout, description="Longest time a statement may take."),
    Setting("synchronize_seqscans", "on", _bool),
    Setting("synchronous_commit", "on", _text),
    Setting("TimeZone", "UTC", _time_zone, reported=True, description="Zone for reading and showing timestamptz."),
    Setting("transaction_deferrable", "off", _bool),
    Setting("transaction_isolation", "read committed", _one_of(*_ISOLATION)),
    Setting("transaction_read_only", "off", _bool),
    Setting("tsdb.prune", "on", _bool, description="Off: queries read all that is in range, for comparing."),
    Setting("work_mem", "4MB", _text),
    Setting("xmloption", "content", _text),
)

SETTINGS: dict[str, Setting] = {setting.name.lower(): setting for setting in _TABLE}


def find(name: str) -> Setting:
    """The setting of that name, whatever its case. A name with a dot that is unknown is a client's own."""
    setting = SETTINGS.get(name.lower())
    if setting is not None:
        return setting
    if re.fullmatch(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)+", name) and not name.lower().startswith("tsdb."):
        return Setting(name, "", _text)
    raise UndefinedObject(f'unrecognized configuration parameter "{name}"')


def checked(name: str, value: str) -> tuple[Setting, str]:
    """A setting and its value as SHOW prints it. Raises UndefinedObject, InvalidParameterValue, 55P02."""
    setting = find(name)
    if setting.fixed:
        raise CantChangeRuntimeParam(f'parameter "{setting.name}" cannot be changed')
    if len(value) > 10_000:
        raise InvalidParameterValue(f'value for parameter "{setting.name}" is too long')
    return setting, setting.check(setting.name, value)
