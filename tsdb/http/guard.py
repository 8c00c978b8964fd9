"""Which requests an open loopback port takes.

Any web page in a browser on this machine can send requests to 127.0.0.1, and a name that someone else owns can
resolve to it (DNS rebinding). So while no password is needed, a request must name this machine as its Host, and one
that a browser marks with an Origin must come from this machine.
"""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def refusal(host: str | None, origin: str | None) -> str | None:
    """Why a request is refused, or None."""
    if host is not None and _name(host) not in LOOPBACK_NAMES:
        return (
            f"Host {host[:100]!r} is not this machine: without passwords only localhost, 127.0.0.1 and [::1] are served"
        )
    if origin is not None and _origin_name(origin) not in LOOPBACK_NAMES:
        return f"Origin {origin[:100]!r} is not this machine: without passwords other pages may not send requests"
    return None


def _name(host: str) -> str:
    try:
        name = urlsplit("//" + host).hostname
    except ValueError:
        return ""
    return (name or "").lower()


def _origin_name(origin: str) -> str:
    try:
        return (urlsplit(origin).hostname or "").lower()
    except ValueError:
        return ""
