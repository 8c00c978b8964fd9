"""Who sends an HTTP request: by where it comes from, by a password or by a token, for the roles that SQL has.

    Authorization: Basic <user:password>                      everywhere; InfluxDB 1
    Authorization: Token <token>, Bearer <token>              InfluxDB 2 and 3
    Authorization: Token <user:password>                      InfluxDB 1.8 behind the API of 2
    ?u=<user>&p=<password>                                    InfluxDB 1

A client that is trusted (``Policy``) is asked for nothing; a role that it names is the one it has, as with PostgreSQL's
``trust``. Failed logins are slowed and logged together with those of the SQL port.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from tsdb.clock import Clock
from tsdb.errors import InsufficientPrivilege
from tsdb.model import access, scram
from tsdb.model.access import Access, Identity
from tsdb.model.roles import FIRST, Role, Roles
from tsdb.model.store import Store

log = logging.getLogger(__name__)

# Passwords that were right lately: checking one takes milliseconds of hashing, and clients send it with each request.
REMEMBERED_MAX = 1_000
PASSWORD_BYTES_MAX = 4096


class Unauthorized(Exception):
    """The request does not say who sends it, or says it wrongly: 401."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or (``user`` None) a token."""

    user: str | None
    secret: str


def credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials | None:
    """What a request says about its sender. Raises Unauthorized for what cannot be read."""
    header = headers.get("authorization")
    if header is None:
        user, password = query.get("u"), query.get("p")
        return None if user is None and password is None else Credentials(user or "", password or "")
    scheme, _, rest = header.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "basic":
            return _basic(rest)
        case "token" | "bearer" if ":" in rest:
            user, _, password = rest.partition(":")
            return Credentials(user, password)
        case "token" | "bearer":
            return Credentials(None, rest)
    raise Unauthorized("unable to parse authentication credentials")


def _basic(text: str) -> Credentials:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized("unable to parse authentication credentials") from None
    if not colon:
        raise Unauthorized("unable to parse authentication credentials")
    return Credentials(user, password)


class Authentication:
    """For all requests of a server; used on its event loop. ``port`` is its name in the log."""

    def __init__(self, store: Store, clock: Clock, pool: Executor, rules: Access, port: str = "http") -> None:
        self._port = port
        self._store = store
        self._clock = clock
        self._pool = pool
        self._rules = rules
        self._salt = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, None] = OrderedDict()

    def trusts(self, host: str) -> bool:
        return self._rules.policy.trusts(host)

    async def identify(self, host: str, given: Credentials | None) -> Identity:
        """The role that a request has. Raises Unauthorized, InsufficientPrivilege (the role may not log in)."""
        roles = self._store.catalog.roles
        if self.trusts(host):
            who = _trusted(roles, given)
        elif given is None:
            raise Unauthorized("unable to parse authentication credentials")
        elif given.user is None:
            who = await self._by_token(roles, host, given.secret)
        else:
            who = await self._by_password(roles, host, given.user, given.secret)
        role = self._store.catalog.roles.by_number.get(who.role)
        if role is None or not role.login:
            raise InsufficientPrivilege(f'role "{who.name}" is not permitted to log in')
        return who

    async def _is_newer(self, roles: Roles) -> bool:
        """Whether roles are not what they were, after a look at what other nodes have agreed on.

        Requests carry what they show, writes too, and those do not wait for what the nodes agree on: only what does not
        fit is looked at again.
        """
        looked = self._store.caught_up()
        if not looked.done():
            await asyncio.shield(asyncio.wrap_future(looked))
        return self._store.catalog.roles is not roles

    async def _by_token(self, roles: Roles, host: str, text: str) -> Identity:
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        found = roles.tokens.get(digest)
        if found is None and await self._is_newer(roles):
            found = self._store.catalog.roles.tokens.get(digest)
        now_us = self._clock.now_ns() // 1000
        if found is not None and (found[1].valid_until_us is None or now_us < found[1].valid_until_us):
            return Identity(found[0].number, found[0].name)
        await self._wait((host, ""))
        why = "no such token" if found is None else f'the token "{found[1].name}" has expired'
        raise self._refused((host, ""), why)

    async def _by_password(self, roles: Roles, host: str, user: str, password: str) -> Identity:
        role, verifier = self._verifier(roles, user)
        key = (host, user)
        if self._mark(verifier, password) not in self._remembered:
            await self._wait(key)
            if len(password.encode("utf-8", "surrogateescape")) > PASSWORD_BYTES_MAX:
                raise self._refused(key, "wrong password")
            right = await self._accepts(verifier, password)
            if not (right and role is not None) and await self._is_newer(roles):
                role, verifier = self._verifier(self._store.catalog.roles, user)
                right = await self._accepts(verifier, password)
            if not right or role is None:
                why = "no such role, no password, or it has expired" if role is None else "wrong password"
                raise self._refused(key, why)
            self._rules.attempts.succeeded(key)
            self._remembered[self._mark(verifier, password)] = None
            while len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        assert role is not None, "what is remembered was right for a role"
        return Identity(role.number, user)

    def _verifier(self, roles: Roles, user: str) -> tuple[Role | None, scram.Verifier]:
        """What a password is checked against; without a role where none can be right."""
        role = roles.by_name.get(user)
        found = scram.parse(role.verifier or "") if role is not None else None
        if role is None or found is None or not access.can_log_in_by_password(role, self._clock.now_ns() // 1000):
            return None, scram.mock(user, roles.secret)
        return role, found

    def _mark(self, verifier: scram.Verifier, password: str) -> bytes:
        return hmac.digest(self._salt, f"{verifier.text}\0{password}".encode("utf-8", "surrogateescape"), "sha256")

    async def _accepts(self, verifier: scram.Verifier, password: str) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._pool, verifier.accepts, password)

    async def _wait(self, key: tuple[str, str]) -> None:
        wait_s = self._rules.attempts.wait_s(key, asyncio.get_running_loop().time())
        if wait_s is None:
            raise self._refused(key, "too many attempts")
        if wait_s:
            await asyncio.sleep(wait_s)

    def _refused(self, key: tuple[str, str], why: str) -> Unauthorized:
        self._rules.attempts.failed(key, asyncio.get_running_loop().time())
        fields = {"user": key[1][:63], "address": key[0], "why": why, "port": self._port}
        log.warning("failed login", extra={"fields": fields})
        return Unauthorized("authorization failed")


def _trusted(roles: Roles, given: Credentials | None) -> Identity:
    if given is not None and given.user is None:
        found = roles.tokens.get(hashlib.sha256(given.secret.encode("utf-8", "surrogateescape")).digest())
        if found is not None:
            return Identity(found[0].number, found[0].name)
    if given is not None and given.user:
        return access.trusted_identity(roles, given.user)
    return Identity(FIRST, roles.name_of(FIRST))
