"""The operator's side of ``control``: one request to one node, with a deadline. It blocks."""

from __future__ import annotations

import socket
import ssl

from tsdb.cluster.group import control
from tsdb.cluster.group.control import Request, Response
from tsdb.cluster.transport.tls import OPERATOR_PROTOCOL, NodeTls, certified
from tsdb.errors import CannotConnectNow, ProtocolViolation

CONNECT_S = 5.0
ANSWER_S = 30.0
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
"""What OpenSSL says of those who answer in the clear."""


class NotThere(CannotConnectNow):
    """Nobody listens on an address: not yet, or not any more."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [HOST]:PORT. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{address}" is not HOST:PORT')
    return host.removeprefix("[").removesuffix("]"), int(port)


def ask(address: str, request: Request, tls: NodeTls, seconds: float = ANSWER_S) -> Response:
    """Raises CannotConnectNow (NotThere) for a node that does not answer; the error that it answers with;
    ProtocolViolation."""
    host, port = split_address(address)
    try:
        with socket.create_connection((host, port), timeout=min(CONNECT_S, seconds)) as raw:
            raw.settimeout(seconds)
            with tls.operating().wrap_socket(raw) as connection:
                if len(certified(connection.getpeercert() or {})) != 1:
                    raise CannotConnectNow(f"who listens on {address} has a certificate of the cluster, but is no node")
                if connection.selected_alpn_protocol() != OPERATOR_PROTOCOL:
                    raise CannotConnectNow(f"the node on {address} does not answer operators")
                connection.sendall(control.encode(request))
                body = _read(connection, control.length(_read(connection, control.LENGTH.size)))
    except ssl.SSLError as error:
        if error.reason in NO_TLS:
            raise CannotConnectNow(
                f"what listens on {address} is not a node's port for other nodes ({error.reason})",
                hint="It is the one that the node has as cluster_listen, not that of SQL or HTTP.",
            ) from None
        raise CannotConnectNow(
            f"the node on {address} and this one do not trust each other: {error.reason or error}",
            hint="Both need certificates of one authority (tsdb cert), and --cluster-ca is its certificate.",
        ) from None
    except TimeoutError:
        raise CannotConnectNow(f"the node on {address} did not answer in time") from None
    except OSError as error:
        raise NotThere(f"there is no node to be reached on {address}: {error.strerror or error}") from None
    answer = control.decode_response(body)
    if isinstance(answer, control.Failed):
        raise control.error_of(answer)
    return answer


def _read(connection: ssl.SSLSocket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ProtocolViolation("the node ended the connection before it had answered")
        found += part
    return bytes(found)
