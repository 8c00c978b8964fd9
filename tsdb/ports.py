"""Ports, before they are taken."""

from __future__ import annotations

import socket


def why_taken(host: str, port: int) -> str | None:
    """Why a port cannot be had, None if it can; gRPC itself says little more than that it cannot."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None
