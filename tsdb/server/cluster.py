"""What of a server depends on whether its node is one of several."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from tsdb.certificates import check_secret_file, why
from tsdb.cluster.alone import Alone
from tsdb.cluster.etcd import joining as etcd
from tsdb.cluster.etcd.address import parse
from tsdb.cluster.group.joining import Place
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.node import Agree, Node
from tsdb.config import EMBEDDED, Settings, is_loopback, metadata_password, split_address
from tsdb.errors import ConfigurationError, StartupError
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options

log = logging.getLogger("tsdb.server")

PROCESS_ID_BITS = 16
"""Of a session's id: the node is above them, so that what is named by sessions is so in the whole cluster."""
_ANY_ADDRESS = ("0.0.0.0", "::", "")


def agree_of(settings: Settings) -> Agree:
    """How the node agrees with others."""
    if settings.metadata != EMBEDDED:
        return _over_etcd(settings)
    if not settings.cluster_listen:
        return Alone

    def together(engine: Engine, options: Options) -> Agreement:
        # Not for a server by itself: gRPC takes a tenth of a second to load.
        from tsdb.cluster.group.group import Group

        return Group(engine, options, place_of(settings))

    return together


def _over_etcd(settings: Settings) -> Agree:
    place = etcd_of(settings)

    def over_etcd(engine: Engine, options: Options) -> Agreement:
        return etcd.agree(engine, options, place)

    return over_etcd


def etcd_of(settings: Settings) -> etcd.Place:
    """Where etcd is, and who asks. Raises ConfigurationError, StartupError."""
    address = parse(settings.metadata)
    password = metadata_password()
    if settings.metadata_password_file is not None:
        password = _password_in(settings.metadata_password_file)
    if bool(address.user) != bool(password):
        raise ConfigurationError(
            "a user of etcd (etcd://USER@HOST:PORT) and a password (TSDB_METADATA_PASSWORD or metadata_password_file) "
            "go together"
        )
    if password and settings.metadata_ca is None and not all(is_loopback(each.host) for each in address.endpoints):
        log.warning("the password for etcd goes over the network as it is: set metadata_ca to use TLS")
    return etcd.Place(
        address=address,
        password=password,
        authority=settings.metadata_ca,
        certificate=settings.metadata_cert,
        key=settings.metadata_key,
    )


def _password_in(file: Path) -> str:
    check_secret_file(file, "password")
    try:
        return file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read the password in {file}: {why(error)}") from None


def place_of(settings: Settings) -> Place:
    host, port = split_address(settings.cluster_listen, "cluster_listen")
    assert settings.cluster_cert is not None, "checked with the settings"
    assert settings.cluster_key is not None, "checked with the settings"
    assert settings.cluster_ca is not None, "checked with the settings"
    return Place(
        host=host,
        port=port,
        address=settings.cluster_address or settings.cluster_listen,
        certificate=settings.cluster_cert,
        key=settings.cluster_key,
        authority=settings.cluster_ca,
        rows_port=settings.cluster_rows_port,
        join=settings.join or None,
        lost_s=settings.lost_voter_timeout,
        lost_node_s=settings.lost_node_timeout,
    )


def _is_one_of_several(settings: Settings) -> bool:
    return bool(settings.cluster_listen) or settings.metadata != EMBEDDED


def process_ids_of(settings: Settings, node: Node) -> range:
    """What this node's sessions are numbered by."""
    if not _is_one_of_several(settings):
        return range(1, 2**31)
    first = node.engine.node << PROCESS_ID_BITS
    return range(first + 1, first + (1 << PROCESS_ID_BITS))


def addresses_of(settings: Settings, pg_port: int, http_port: int, flight_port: int | None) -> Mapping[str, str]:
    """Where clients reach this node, by purpose: on any address, it is the one by which other nodes do."""
    if not _is_one_of_several(settings):
        return {}
    host = settings.host
    if host in _ANY_ADDRESS:
        known = settings.cluster_address or settings.cluster_listen
        host = split_address(known, "cluster_address")[0] if known else socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    ports = {"sql": pg_port, "http": http_port, "flight": flight_port}
    return {purpose: f"{shown}:{port}" for purpose, port in ports.items() if port is not None}
