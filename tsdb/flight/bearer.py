"""Tokens for those who showed a password at Flight's handshake, so that it need not come with each call.

They are kept in memory as hashes, for an hour, and are worth nothing once the role's password is another one or has
expired, or the role may not log in any more. API tokens (CREATE TOKEN) need no handshake.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from tsdb.clock import Clock
from tsdb.errors import InvalidPassword
from tsdb.model.access import Identity, can_log_in_by_password
from tsdb.model.roles import Role
from tsdb.model.store import Store

LIFE_S = 3600
TOKENS_MAX = 10_000
PREFIX = "flight-"
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Given:
    identity: Identity
    verifier: str | None
    has_password: bool
    until_ns: int


class Bearers:
    """Any thread may call."""

    def __init__(self, store: Store, clock: Clock, life_s: float = LIFE_S) -> None:
        self._store = store
        self._clock = clock
        self._life_ns = int(life_s * 1e9)
        self._lock = threading.Lock()
        self._given: OrderedDict[bytes, _Given] = OrderedDict()

    def give(self, identity: Identity) -> str:
        """A token for somebody who has shown who it is."""
        text = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        role, now_ns = self._role(identity), self._clock.now_ns()
        verifier = None if role is None else role.verifier
        given = _Given(identity, verifier, self._has_password(role, now_ns), now_ns + self._life_ns)
        with self._lock:
            self._given[_digest(text)] = given
            while len(self._given) > TOKENS_MAX:
                self._given.popitem(last=False)
        return text

    def identity(self, text: str) -> Identity | None:
        """Whose token it is; None: it was not given here. Raises InvalidPassword for one that holds no more."""
        digest = _digest(text)
        with self._lock:
            given = self._given.get(digest)
        if given is None:
            return None
        role, now_ns = self._role(given.identity), self._clock.now_ns()
        valid = role is not None and role.login and role.verifier == given.verifier
        # On an open port nobody showed a password: one that had expired then says nothing now.
        expired = given.has_password and not self._has_password(role, now_ns)
        if not valid or expired or now_ns >= given.until_ns:
            with self._lock:
                self._given.pop(digest, None)
            raise InvalidPassword("the token of the handshake has expired", hint="Log in again.")
        return given.identity

    def _role(self, identity: Identity) -> Role | None:
        return self._store.catalog.roles.by_number.get(identity.role)

    @staticmethod
    def _has_password(role: Role | None, now_ns: int) -> bool:
        return role is not None and can_log_in_by_password(role, now_ns // 1000)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
