"""The settings: one table that feeds the file, the environment, the flags of ``tsdb start``, ``--help`` and the manual.

Every setting is a field of ``Settings`` with its default, bounds, unit and help text; nothing else in the package reads
the environment or a file of settings. A flag wins over ``TSDB_NAME`` in the environment, that over the file (TOML),
that over the default. What is unknown or out of bounds is refused by name with a ``ConfigurationError``.

Sizes are bytes, written as a number or with a unit (``256MiB``); durations are seconds, or with a unit (``30min``).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tsdb.errors import ConfigurationError

ENVIRONMENT_PREFIX = "TSDB_"

EMBEDDED = "embedded"

KIB, MIB, GIB = 1024, 1024**2, 1024**3

# What else the environment may say. These are read before settings exist: by the command line and by tsdb.kernels.
ENVIRONMENT_ONLY = {
    "TSDB_ADMIN_PASSWORD": "password that the user tsdb gets at a start when it has none",
    "TSDB_METADATA_PASSWORD": "password of metadata's user in etcd, when there is no metadata_password_file",
    "TSDB_CONFIG": "the settings file, when --config is not given",
    "TSDB_KERNEL_CACHE": "directory of compiled kernels; by default the cache directory of the user",
    "TSDB_BOUNDSCHECK": "1 compiles the kernels with bounds checks (slow; for tests)",
}

_SIZE_UNITS = {
    "": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB, "tib": 1024**4,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_DURATION_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def _quantity(value: object, units: Mapping[str, float], example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be a number or a text such as {example}")
    if not isinstance(value, str):
        return value
    found = _QUANTITY.fullmatch(value)
    if found is None or found[2].lower() not in units:
        raise ValueError(f"must be a number or a text such as {example}")
    number = float(found[1]) if "." in found[1] else int(found[1])
    return number * units[found[2].lower()]


def _size(value: object) -> int:
    return int(_quantity(value, _SIZE_UNITS, "256MiB"))


def _duration(value: object) -> float:
    return float(_quantity(value, _DURATION_UNITS, "30min"))


def _acks(value: object) -> str:
    text = str(value).strip().lower()
    if text not in ("", "quorum", "all") and not re.fullmatch("[0-9]{1,2}", text, re.ASCII):
        raise ValueError("must be quorum, all or a number from 0 to 99")
    return text


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def _setting(
    default: Any, meaning: str, *, topic: str, unit: str = "", ge: float | None = None, le: float | None = None
) -> Any:
    return Field(default, description=meaning, ge=ge, le=le, json_schema_extra={"unit": unit, "topic": topic})


def _bytes(default: int, meaning: str, *, topic: str, ge: int = 0, le: int = 1024 * GIB) -> Any:
    return _setting(default, meaning, topic=topic, unit="bytes", ge=ge, le=le)


def _seconds(default: float, meaning: str, *, topic: str, ge: float = 0, le: float = 86400) -> Any:
    return _setting(default, meaning, topic=topic, unit="seconds", ge=ge, le=le)


Size = Annotated[int, BeforeValidator(_size)]
OptionalPort = Annotated[int | None, BeforeValidator(lambda value: None if value == "" else value)]
OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)]
Duration = Annotated[float, BeforeValidator(_duration)]
Acks = Annotated[str, BeforeValidator(_acks)]


class Settings(BaseSettings):
    """All settings of a server, checked. Build it with ``load``."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    data: Path = _setting(Path("tsdb-data"), "directory of the data; made if it is not there", topic="place")
    host: str = _setting(
        "127.0.0.1",
        "address to listen on; other than loopback only when a user has a password, or insecure",
        topic="place",
    )
    pg_port: int = _setting(
        5432, "port of the PostgreSQL protocol; 0 takes any free one", topic="place", ge=0, le=65535
    )
    http_port: int = _setting(8086, "port of HTTP; 0 takes any free one", topic="place", ge=0, le=65535)
    http_socket: OptionalPath = _setting(
        None, "path of a Unix socket that serves HTTP as well; who can open it is on this machine", topic="place"
    )
    line_tcp_port: OptionalPort = _setting(
        None, "port of line protocol over TCP; off unless it is given, 0 takes any free one", topic="place",
        ge=0, le=65535
    )  # fmt: skip
    line_udp_port: OptionalPort = _setting(
        None, "port of line protocol over UDP; off unless it is given, 0 takes any free one", topic="place",
        ge=0, le=65535
    )  # fmt: skip
    flight_port: OptionalPort = _setting(
        5481, "port of Arrow Flight; empty: off, 0: any free one. The default is taken on loopback and if it is free",
        topic="place", ge=0, le=65535
    )  # fmt: skip
    insecure: bool = _setting(
        False, "ask nobody for a password: everybody who reaches a port reads, writes and deletes", topic="security"
    )
    loopback_password: bool = _setting(False, "ask clients on this machine for a password, too", topic="security")
    tls_cert: OptionalPath = _setting(
        None, "certificate (PEM, with its chain) for TLS on all ports; read again when it changes", topic="security"
    )
    tls_key: OptionalPath = _setting(
        None, "private key (PEM) of the certificate; nobody but its owner may read it", topic="security"
    )
    tls_required: bool = _setting(
        False, "refuse clients of other machines that do not use TLS on the SQL port", topic="security"
    )

    connections_max: int = _setting(1000, "SQL connections at a time", topic="clients", ge=1, le=10_000)
    message_bytes_max: Size = _bytes(
        64 * MIB, "longest message of SQL and of Flight", topic="clients", ge=64 * KIB, le=GIB - 1
    )
    startup_timeout: Duration = _seconds(
        30, "time a client of the SQL port has to say who it is", topic="clients", ge=0.1, le=3600
    )
    flight_streams_max: int = _setting(
        64, "streams of Arrow Flight at a time; each may hold a message", topic="clients", ge=1, le=10_000
    )
    body_bytes_max: Size = _bytes(
        256 * MIB, "longest body of an HTTP write, compressed and not; more is 413", topic="clients", ge=KIB, le=4 * GIB
    )
    bodies_bytes_max: Size = _bytes(
        512 * MIB, "bodies of HTTP writes in memory at a time; more is 503", topic="clients", ge=KIB, le=64 * GIB
    )
    producers_max: int = _setting(
        10_000, "producers of numbered batches that are remembered", topic="clients", ge=1, le=10_000_000
    )
    producer_window: Duration = _seconds(
        7 * 86400, "a producer that has not written for so long may be forgotten when there are too many",
        topic="clients", ge=60, le=366 * 86400
    )  # fmt: skip
    hints_bytes_max: Size = _bytes(
        0, "numbered batches kept on disk while no node leads their database, if their client asks for that; 0: none",
        topic="clients",
    )  # fmt: skip
    create_database_on_write: bool = _setting(
        True, "a write to an unknown database creates it; otherwise it is 404", topic="clients"
    )

    cluster_listen: str = _setting(
        "", "HOST:PORT for the other nodes of a cluster and for its operators; off unless it is given", topic="cluster"
    )
    cluster_address: str = _setting(
        "", "HOST:PORT at which the others find this node, if that is not cluster_listen", topic="cluster"
    )
    cluster_rows_port: OptionalPort = _setting(
        0, "port at which other nodes fetch the rows of queries (Arrow Flight), on the address of cluster_listen; "
        "0: any free one, empty: they come over cluster_listen", topic="cluster", ge=0, le=65535
    )  # fmt: skip
    cluster_ca: OptionalPath = _setting(None, "certificate (PEM) of the cluster's authority", topic="cluster")
    cluster_cert: OptionalPath = _setting(
        None, "this node's certificate (PEM) for other nodes; read again when it changes", topic="cluster"
    )
    cluster_key: OptionalPath = _setting(
        None, "private key (PEM) of that certificate; nobody but its owner may read it", topic="cluster"
    )
    metadata: str = _setting(
        EMBEDDED, "where nodes agree on schema and users: among themselves, or at etcd://[USER@]HOST:PORT,…[/PREFIX]",
        topic="cluster",
    )  # fmt: skip
    metadata_password_file: OptionalPath = _setting(
        None, "file with the password of that user; nobody but its owner may read it", topic="cluster"
    )
    metadata_ca: OptionalPath = _setting(
        None, "certificate (PEM) of the authority of etcd's members; given, etcd is spoken to over TLS", topic="cluster"
    )
    metadata_cert: OptionalPath = _setting(
        None, "certificate (PEM) to show to etcd; read again when it changes", topic="cluster"
    )
    metadata_key: OptionalPath = _setting(
        None, "private key (PEM) of that certificate; nobody but its owner may read it", topic="cluster"
    )
    join: str = _setting(
        "", "HOST:PORT of any node of the cluster that a new data directory joins; later it has no effect",
        topic="cluster",
    )  # fmt: skip
    lost_voter_timeout: Duration = _seconds(
        30,
        "a voting node that has not answered for so long loses its vote to a learner",
        topic="cluster",
        ge=2,
        le=3600,
    )
    lost_node_timeout: Duration = _seconds(
        900, "what a node that has not answered for so long has of replicated databases is made anew at another one",
        topic="cluster", ge=2, le=30 * 86400,
    )  # fmt: skip
    replica_check_interval: Duration = _seconds(
        600, "so often the nodes compare points of replicated databases, 20 million at a time; 0: never",
        topic="cluster", ge=0, le=30 * 86400,
    )  # fmt: skip
    replica_log_bytes: Size = _bytes(
        GIB, "writes of replicated databases kept for nodes that were away; who misses more gets a copy of all",
        topic="cluster", ge=KIB, le=1024 * GIB,
    )  # fmt: skip

    head_bytes: Size = _bytes(
        256 * MIB, "recent points in memory; more are written to blocks", topic="storage", ge=MIB, le=64 * GIB
    )
    head_age: Duration = _seconds(
        30 * 60, "age at which recent points are written to blocks", topic="storage", ge=1, le=30 * 86400
    )
    disk_reserve: Size = _bytes(512 * MIB, "free space below which writes are refused and reads go on", topic="storage")

    compaction: bool = _setting(True, "blocks are merged and cleaned in the background", topic="storage")
    compaction_rate: Size = _bytes(
        16 * MIB, "bytes a second that compaction reads and writes at most; 0: as fast as it can", topic="storage"
    )

    copy_rate: Size = _bytes(
        64 * MIB, "bytes a second of copies of replicated databases that a node sends at most; 0: as fast as it can",
        topic="storage",
    )  # fmt: skip

    query_memory: Size = _bytes(
        GIB, "memory of all running statements together; beyond it they spill to disk or fail", topic="queries",
        ge=64 * MIB
    )  # fmt: skip
    query_threads: int = _setting(
        0, "threads that execute statements; 0: as many as cores", topic="queries", ge=0, le=512
    )
    result_memory: Size = _bytes(
        256 * MIB, "results on their way to SQL clients, of all connections together; beyond it statements wait",
        topic="queries", ge=16 * MIB
    )  # fmt: skip
    result_stall_timeout: Duration = _seconds(
        60, "a client that takes nothing of its result for so long is disconnected when others wait for that memory",
        topic="queries", ge=0.1
    )  # fmt: skip
    running_queries: int = _setting(
        8, "statements that compute at a time, and as many more that have for over a second; others wait",
        topic="queries", ge=1, le=256
    )  # fmt: skip
    waiting_queries: int = _setting(
        500, "statements that wait for their turn; more fail with 53300", topic="queries", ge=1, le=10_000
    )
    transaction_bytes_max: Size = _bytes(
        256 * MIB, "changes that one transaction may hold until COMMIT", topic="queries", ge=MIB
    )
    copy_memory: Size = _bytes(
        32 * MIB, "rows of one COPY FROM that wait for its end in memory; the others lie in a temporary file",
        topic="queries", ge=0
    )  # fmt: skip
    write_threads: int = _setting(0, "threads that parse writes; 0: as many as cores", topic="queries", ge=0, le=256)

    line_database: str = _setting(
        "tsdb", "database of lines that name none: over TCP and UDP, and of POST /write without db",
        topic="line protocol",
    )  # fmt: skip
    line_role: str = _setting(
        "", "role that clients of TCP and UDP write as where others show a password; without it they are not served",
        topic="line protocol",
    )  # fmt: skip
    line_acks: Acks = _setting(
        "", "how many replicas lines over TCP and UDP wait for: quorum, all or a number; empty: as their tables say",
        topic="line protocol",
    )  # fmt: skip
    line_bytes_max: Size = _bytes(4 * MIB, "longest line of line protocol", topic="line protocol", ge=KIB, le=GIB)
    line_string_bytes_max: Size = _bytes(
        MIB, "longest string value in line protocol", topic="line protocol", ge=256, le=GIB
    )
    line_fields_max: int = _setting(5_000, "fields of one line", topic="line protocol", ge=1, le=30_000)
    line_tags_max: int = _setting(1_000, "tags of one line", topic="line protocol", ge=1, le=30_000)

    log_level: LogLevel = _setting(LogLevel.INFO, "debug, info, warning or error", topic="running")
    log_format: LogFormat = _setting(
        LogFormat.TEXT, "text or json, one line an event, on standard error", topic="running"
    )
    warm_start: bool = _setting(
        True, "kernels are loaded when the server starts; otherwise when a client first needs them", topic="running"
    )
    shutdown_timeout: Duration = _seconds(
        1.0, "time that running statements and writes get to end when the server stops", topic="running", le=3600
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: ``load`` reads the sources itself, so that an error can name the one it came from."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table of settings: what flags, ``--help`` and the manual show."""

    name: str
    type: object
    default: object
    meaning: str
    unit: str
    topic: str
    low: float | None
    high: float | None

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()

    def text(self, value: object) -> str:
        """A value as a person writes it: ``256MiB``, ``30min``, ``true``."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if self.unit == "bytes":
            return _in_units(value, (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)))
        if self.unit == "seconds":
            return _in_units(value, (("d", 86400), ("h", 3600), ("min", 60))) + (
                "s" if value == 0 or value % 60 else ""  # type: ignore[operator]
            )
        return str(value)

    @property
    def bounds(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"{self.text(_whole(self.low))} … {self.text(_whole(self.high))}"


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def _in_units(value: Any, units: Iterable[tuple[str, int]]) -> str:
    value = _whole(value)
    for name, size in units:
        if value and value % size == 0:
            return f"{value // size}{name}"
    return str(value)


def _entry(name: str, field: FieldInfo) -> Entry:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    assert field.annotation is not None
    low = next((m.ge for m in field.metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in field.metadata if isinstance(m, Le)), None)
    return Entry(
        name,
        field.annotation,
        field.default,
        field.description or "",
        str(extra["unit"]),
        str(extra["topic"]),
        low,  # type: ignore[arg-type]
        high,  # type: ignore[arg-type]
    )


TABLE: tuple[Entry, ...] = tuple(_entry(name, field) for name, field in Settings.model_fields.items())
NAMES = frozenset(entry.name for entry in TABLE)


def load(flags: Mapping[str, object] | None = None, *, file: Path | None = None) -> Settings:
    """The settings from flags (by name, absent ones left out), the environment and a file, in this order of rank.

    Raises ConfigurationError with one line that names the setting, where it came from and what is wrong.
    """
    if file is None and os.environ.get("TSDB_CONFIG"):
        file = Path(os.environ["TSDB_CONFIG"])
    given: dict[str, tuple[object, str]] = {}
    for name, value in (_read(file) if file else {}).items():
        given[name] = (value, f"{name} in {file}")
    for name, value in _from_environment().items():
        given[name] = (value, ENVIRONMENT_PREFIX + name.upper())
    for name, value in (flags or {}).items():
        given[name] = (value, "--" + name.replace("_", "-"))
    try:
        settings = Settings(**{name: value for name, (value, _) in given.items()})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError(_why(error, {name: origin for name, (_, origin) in given.items()})) from None
    _check_together(settings)
    return settings


def admin_password() -> str | None:
    """The password that the first role gets when it has none. Not a setting: no file or flag should hold it."""
    return os.environ.get("TSDB_ADMIN_PASSWORD") or None


def metadata_password() -> str:
    """The password for etcd from the environment; empty if there is none. Not a setting, as above."""
    return os.environ.get("TSDB_METADATA_PASSWORD", "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``. A name other than localhost counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_together(settings: Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigurationError("tls_cert and tls_key go together: a certificate and its private key")
    if settings.tls_required and settings.tls_cert is None:
        raise ConfigurationError("tls_required needs tls_cert and tls_key")
    _check_cluster(settings)
    _check_metadata(settings)
    if settings.bodies_bytes_max < settings.body_bytes_max:
        raise ConfigurationError("bodies_bytes_max is smaller than body_bytes_max: no body of that size could come in")


def _check_cluster(settings: Settings) -> None:
    files = (settings.cluster_ca, settings.cluster_cert, settings.cluster_key)
    if settings.cluster_listen and None in files:
        raise ConfigurationError("cluster_listen needs cluster_ca, cluster_cert and cluster_key: see tsdb cert")
    if settings.join and not settings.cluster_listen:
        raise ConfigurationError("join needs cluster_listen: the others have to reach this node")
    for name in ("cluster_listen", "cluster_address", "join"):
        if getattr(settings, name):
            split_address(getattr(settings, name), name)
    host, _ = split_address(settings.cluster_listen or "x:1", "cluster_listen")
    if host in ("0.0.0.0", "::", "*") and not settings.cluster_address:
        raise ConfigurationError(
            f"cluster_listen {host} is no address that others could dial: give cluster_address, too"
        )


def _check_metadata(settings: Settings) -> None:
    given = [
        name
        for name in ("metadata_password_file", "metadata_ca", "metadata_cert", "metadata_key")
        if getattr(settings, name) is not None
    ]
    if settings.metadata == EMBEDDED:
        if given:
            raise ConfigurationError(f"{given[0]} is for metadata in etcd: give metadata, too")
        return
    if not settings.metadata.startswith("etcd://"):
        # What was given is not repeated: it may be a password in the wrong place.
        raise ConfigurationError(f"wrong setting metadata: it is {EMBEDDED}, or etcd://HOST:PORT,…")
    if settings.cluster_listen or settings.join:
        raise ConfigurationError(
            "cluster_listen and join are for nodes that agree among themselves: those with metadata in etcd find each "
            "other there"
        )
    if (settings.metadata_cert is None) != (settings.metadata_key is None):
        raise ConfigurationError("metadata_cert and metadata_key go together: a certificate and its private key")
    if settings.metadata_cert is not None and settings.metadata_ca is None:
        raise ConfigurationError("metadata_cert needs metadata_ca: without it there is no TLS to etcd")


def split_address(address: str, name: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [HOST]:PORT. Raises ConfigurationError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f'wrong setting {name}: "{address}" is not HOST:PORT')
    return host.removeprefix("[").removesuffix("]"), int(port)


def _read(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb"):
            values = TomlConfigSettingsSource(Settings, toml_file=file)()
    except OSError as error:
        raise ConfigurationError(f"cannot read the settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the settings file {file} is not TOML: {error}") from None
    for name in values:
        if name not in NAMES:
            raise ConfigurationError(f'unknown setting "{name}" in {file}{_suggestion(name, NAMES)}')
    return values


def _from_environment() -> dict[str, Any]:
    known = {*(entry.variable for entry in TABLE), *ENVIRONMENT_ONLY}
    for variable in sorted(os.environ):
        if variable.upper().startswith(ENVIRONMENT_PREFIX) and variable not in known:
            raise ConfigurationError(f"unknown setting {variable} in the environment{_suggestion(variable, known)}")
    return EnvSettingsSource(Settings, case_sensitive=False)()


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _why(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    origin = origins.get(name, name)
    if first["type"] == "extra_forbidden":
        return f"unknown setting {origin}{_suggestion(name, NAMES)}"
    text = first["msg"].removeprefix("Value error, ")
    shown = repr(first["input"])[:80]
    return f"wrong setting {origin}: {text[0].lower() + text[1:]}, not {shown}"
