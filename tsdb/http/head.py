"""The head of a request, as far as a write needs it: made for each, so it costs little.

What clients send again and again (their query, Host and address) is read once and remembered, within bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qsl

from starlette.types import Scope

from tsdb.http import guard

REMEMBERED_MAX = 1024
# What is longer is read each time.
REMEMBERED_BYTES = 512


class Head:
    """``headers`` by lower-case name, the first of each; ``query`` the parameters, the last of each; ``host`` the
    address of who sent it, "" over a Unix socket."""

    __slots__ = ("headers", "host", "query", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        self.headers: Mapping[str, str] = headers
        query: bytes = scope["query_string"]
        self.query: Mapping[str, str] = _remembered_query(query) if len(query) <= REMEMBERED_BYTES else _query(query)
        client = scope.get("client")
        self.host: str = "" if client is None else client[0]


def refusal(headers: Mapping[str, str]) -> str | None:
    """What ``guard`` says to a request."""
    host, origin = headers.get("host"), headers.get("origin")
    if len(host or "") + len(origin or "") > REMEMBERED_BYTES:
        return guard.refusal(host, origin)
    return _remembered_refusal(host, origin)


_remembered_refusal = lru_cache(REMEMBERED_MAX)(guard.refusal)


def _query(text: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))


_remembered_query = lru_cache(REMEMBERED_MAX)(_query)
