"""What is ours among the settings: values of this server, and checks of settings that take effect.

Where only some of PostgreSQL's values have their effect here, the others are refused (0A000) rather than kept without
effect: output in another style than the client asked for would be read wrongly.
"""

from __future__ import annotations

import re

from tsdb import encodings
from tsdb.errors import FeatureNotSupported, InvalidParameterValue
from tsdb.model.acks import acks_of
from tsdb.model.acks import text_of as text_of_acks
from tsdb.model.freshness import ops_of, text_of
from tsdb.sql.settings.setting import Check
from tsdb.zones import zone

SERVER_VERSION = "15.18"
SERVER_VERSION_NUM = "150018"

# What this server answers instead of PostgreSQL's own defaults.
VALUES = {
    "server_version": SERVER_VERSION,
    "server_version_num": SERVER_VERSION_NUM,
    "max_identifier_length": "255",
    "max_prepared_transactions": "0",
    "autovacuum": "off",
    "listen_addresses": "",
}
# What only superusers and members of pg_read_all_settings see (guc.c, GUC_SUPERUSER_ONLY).
SUPERUSERS_ONLY = frozenset({
    "config_file", "data_directory", "dynamic_library_path", "external_pid_file", "hba_file", "ident_file",
    "jit_provider", "krb_server_keyfile", "log_directory", "log_filename", "primary_conninfo",
    "session_preload_libraries", "shared_preload_libraries", "ssl_ciphers", "ssl_dh_params_file", "ssl_ecdh_curve",
    "ssl_max_protocol_version", "ssl_min_protocol_version", "ssl_passphrase_command", "unix_socket_directories",
})  # fmt: skip
# ParameterStatus, in PostgreSQL's order (guc.c, GUC_REPORT).
REPORTED = (
    "in_hot_standby", "integer_datetimes", "TimeZone", "IntervalStyle", "is_superuser", "application_name",
    "default_transaction_read_only", "standard_conforming_strings", "DateStyle",
    "session_authorization", "client_encoding", "server_version", "server_encoding",
)  # fmt: skip

_OFFSET = re.compile(r"<?([+-])(0\d|1[0-4])(?::?00)?(?:>.*)?")


def time_zone(name: str, value: str) -> str:
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


def client_encoding(name: str, value: str) -> str:
    """An encoding by PostgreSQL's own name of it."""
    found = encodings.name_of(value)
    if found is None:
        raise InvalidParameterValue(f'invalid value for parameter "{name}": "{value}"')
    return found


_STYLES = ("iso", "sql", "postgres", "german")
_ORDERS = {
    "mdy": "MDY", "us": "MDY", "noneuro": "MDY", "noneuropean": "MDY", "dmy": "DMY", "euro": "DMY", "european": "DMY",
    "ymd": "YMD",
}  # fmt: skip


def date_style(name: str, value: str) -> str:
    for word in (word.strip().strip('"').lower() for word in value.split(",") if word.strip()):
        style = next((each for each in _STYLES if word.startswith(each)), word)
        order = _ORDERS.get(word, "MDY")
        if style in _STYLES[1:] or order != "MDY":
            raise FeatureNotSupported(
                f"DateStyle {word.upper()} is not supported", hint="Dates are always in ISO style, order MDY."
            )
        if style != "iso" and word not in _ORDERS and word != "default":
            raise InvalidParameterValue(
                f'invalid value for parameter "{name}": "{value}"', detail=f'Unrecognized key word: "{word}".'
            )
    return "ISO, MDY"


def only(supported: str, words: tuple[str, ...]) -> Check:
    """An enumeration of which one value has its effect."""

    def check(name: str, value: str) -> str:
        if value.lower() not in words:
            available = f"Available values: {', '.join(words)}."
            raise InvalidParameterValue(f'invalid value for parameter "{name}": "{value}"', hint=available)
        if value.lower() != supported:
            raise FeatureNotSupported(f'{name} "{value.lower()}" is not supported', hint=f"It is always {supported}.")
        return supported

    return check


def standard_strings(name: str, value: str) -> str:
    if value.lower() in ("off", "false", "no", "0", "f", "n", "of"):
        raise FeatureNotSupported(f"{name} is always on", hint="Write backslash escapes as E'…'.")
    return "on"


def batch_number(name: str, value: str) -> str:
    """Exactly: the numbers of other settings are read as floats."""
    text = value.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 2**63):
        raise InvalidParameterValue(
            f'invalid value for parameter "{name}": "{value}"',
            hint="Numbers go from 1 to 9223372036854775807; 0 is none.",
        )
    return str(int(text))


def acks(name: str, value: str) -> str:
    text = value.strip().lower()
    if text == "default":
        return text
    try:
        return text_of_acks(acks_of(text))
    except ValueError:
        raise InvalidParameterValue(
            f'invalid value for parameter "{name}": "{value}"',
            hint="Available values: default, quorum, all, and numbers from 0 to 99.",
        ) from None


def read_token(name: str, value: str) -> str:
    try:
        return text_of(ops_of(value.strip()))
    except ValueError:
        raise InvalidParameterValue(
            f'invalid value for parameter "{name}": "{value}"',
            hint="It is what SHOW tsdb.read_token shows, and what the header X-Tsdb-Token has.",
        ) from None


CHECKS: dict[str, Check] = {
    "TimeZone": time_zone,
    "client_encoding": client_encoding,
    "DateStyle": date_style,
    "IntervalStyle": only("postgres", ("postgres", "postgres_verbose", "sql_standard", "iso_8601")),
    "bytea_output": only("hex", ("escape", "hex")),
    "standard_conforming_strings": standard_strings,
}
