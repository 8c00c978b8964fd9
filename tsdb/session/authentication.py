"""A client's login: trusted by where it comes from, or by SCRAM. One ``Login`` for each connection.

A name that no role has, one without a password and one whose password has expired go through the same exchange, with a
verifier that nothing fits: the client sees a wrong password in each case, after the same work.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from tsdb.clock import Clock
from tsdb.errors import InvalidAuthorizationSpecification, InvalidPassword, ProtocolViolation, TsdbError
from tsdb.model import access, scram
from tsdb.model.access import Access, Identity
from tsdb.model.roles import Roles
from tsdb.model.store import Store
from tsdb.session.scram_exchange import ScramExchange
from tsdb.wire import Client, Event, SaslInitialResponse, SaslResponse, Startup

logger = logging.getLogger(__name__)

_NONCE_BYTES = 24


class Login:
    """``begin`` with the startup packet, then ``answer`` with each event, until one gives an identity."""

    def __init__(self, client: Client, store: Store, clock: Clock, rules: Access) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._rules = rules
        self._exchange: ScramExchange | None = None
        self._role: int | None = None
        self._why_not = "wrong password"
        self._user = ""
        self._started = False

    async def begin(self, startup: Startup) -> Identity | None:
        """The identity of a trusted client; None: it has been asked for its password. Raises what refuses it."""
        self._user = startup.user
        host = self._host
        policy = self._rules.policy
        if policy.refuses_clear_text(host) and not self._client.encrypted:
            raise InvalidAuthorizationSpecification(
                "this server takes connections of other machines only with TLS", hint="Connect with sslmode=require."
            )
        if policy.trusts(host):
            if startup.user not in self._store.catalog.roles.by_name:
                await self._catch_up()
            return access.trusted_identity(self._store.catalog.roles, startup.user)
        wait_s = self._rules.attempts.wait_s(self._key, asyncio.get_running_loop().time())
        if wait_s is None:
            raise self._refused("too many attempts")
        if wait_s:
            await asyncio.sleep(wait_s)
        await self._catch_up()
        verifier = self._verifier(self._store.catalog.roles)
        self._exchange = ScramExchange(verifier, secrets.token_urlsafe(_NONCE_BYTES), self._client.certificate)
        self._client.connection.authentication_sasl(self._exchange.mechanisms)
        return None

    async def answer(self, event: Event) -> Identity | None:
        """The identity after the last message of the exchange."""
        exchange, connection = self._exchange, self._client.connection
        assert exchange is not None, "the startup packet comes first"
        try:
            if isinstance(event, SaslInitialResponse) and not self._started:
                self._started = True
                if event.data is None:
                    raise ProtocolViolation("malformed SCRAM message", detail="The first message is missing.")
                connection.authentication_sasl_continue(exchange.first(event.mechanism, event.data))
                return None
            if not isinstance(event, SaslResponse):
                raise ProtocolViolation("expected SASL response")
            signature = exchange.final(event.data)
        except TsdbError as error:
            self._failed(error.message)
            raise
        if signature is None or self._role is None:
            raise self._refused(self._why_not)
        self._rules.attempts.succeeded(self._key)
        connection.authentication_sasl_final(signature)
        return Identity(self._role, self._user)

    async def _catch_up(self) -> None:
        """Roles are as any node has made them before this; where nobody says what that is, as this one knows them."""
        looked = self._store.caught_up()
        if not looked.done():
            await asyncio.shield(asyncio.wrap_future(looked))

    @property
    def _host(self) -> str:
        return self._client.address.rpartition(":")[0]

    @property
    def _key(self) -> tuple[str, str]:
        return self._host, self._user

    def _verifier(self, roles: Roles) -> scram.Verifier:
        """What the client's proof is checked against; ``_role`` stays None where no proof can be right."""
        role = roles.by_name.get(self._user)
        found = scram.parse(role.verifier or "") if role is not None else None
        if role is None:
            self._why_not = "no such role"
        elif found is None:
            self._why_not = "the role has no password"
        elif not access.can_log_in_by_password(role, self._clock.now_ns() // 1000):
            self._why_not = "the password has expired"
        else:
            self._role = role.number
            return found
        return scram.mock(self._user, roles.secret)

    def _refused(self, why: str) -> InvalidPassword:
        self._failed(why)
        return InvalidPassword(f'password authentication failed for user "{self._user}"')

    def _failed(self, why: str) -> None:
        self._rules.attempts.failed(self._key, asyncio.get_running_loop().time())
        fields = {"user": self._user[:63], "address": self._host, "why": why, "port": "sql"}
        logger.warning("failed login", extra={"fields": fields})
