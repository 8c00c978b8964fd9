"""etcd over its JSON gateway: any member that answers, again and again until one does or the time is up.

Every request here may be sent twice: transactions compare something that they change, so a second one that comes late
does nothing. That is why a lost answer is no error: the request goes to the next member.

Threads share it. A connection serves one request at a time and is kept for the next.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from tsdb.cluster.etcd import messages
from tsdb.cluster.etcd.address import Address, Endpoint
from tsdb.cluster.etcd.connection import BROKEN, Connection
from tsdb.cluster.etcd.messages import Authenticate, Authenticated, Failure, Watch, Watched
from tsdb.cluster.etcd.tls import EtcdTls
from tsdb.cluster.transport.backoff import BackOff
from tsdb.errors import CannotConnectNow, DiskFull, IoError, ProtocolViolation

log = logging.getLogger(__name__)

IDLE_MAX = 4
TRANSACTION = "kv/txn"
FIRST_WAIT_NS, LAST_WAIT_NS = 20_000_000, 2_000_000_000
# gRPC's codes (google.rpc.Code), as far as they matter here.
INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 3, 5, 7, 8
OUT_OF_RANGE, UNAUTHENTICATED = 11, 16
# Cancelled, unknown, deadline exceeded, aborted, internal, unavailable: this member, now; another one may do it.
_TRY_AGAIN = frozenset((1, 2, 4, 10, 13, 14))
# Too many requests at once, which is no lack of space.
_BUSY = "too many requests"
_NO_SPACE = "database space exceeded"
_NAMED = "CommonName of client"
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old", "auth token is not provided", "user name is empty")


class Unreachable(CannotConnectNow):
    """No member of etcd answered in time. What was asked for may have been done."""


class Refused(IoError):
    """etcd answered, and the answer is no. ``code`` is gRPC's."""

    def __init__(self, code: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Compacted(Exception):
    """The revision that was asked for is not kept any more: read what there is now."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long one member has to answer, a request as a whole, and a watch without a word before it is renewed."""

    request_s: float = 3.0
    within_s: float = 10.0
    silence_s: float = 15.0


PACE = Pace()


class Gateway:
    """One etcd. ``close`` makes every call that waits, and those to come, end with Unreachable."""

    def __init__(
        self,
        address: Address,
        password: str = "",
        tls: EtcdTls | None = None,
        pace: Pace = PACE,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._address = address
        self._password = password
        self._tls = tls
        self._pace = pace
        self._chance = chance
        self._lock = threading.Lock()
        self._at = 0
        self._idle: list[Connection] = []
        self._in_use: set[Connection] = set()
        self._token = ""
        self._closed = threading.Event()
        self.failures = 0
        """Requests that a member did not answer, so that another was asked."""

    def call(
        self, path: str, request: msgspec.Struct, kind: type[msgspec.Struct], within_s: float | None = None
    ) -> Any:
        """The reply, of type ``kind``. Raises Unreachable, Refused, DiskFull, Compacted, ProtocolViolation."""
        body = self._answered(path, messages.encode(request), within_s)
        return messages.decode(body, kind)

    def keep_alive(self, lease: int, within_s: float) -> int:
        """The seconds that a lease lasts from now on; 0 if there is none any more."""
        body = self._answered("lease/keepalive", messages.encode(messages.KeepAlive(lease)), within_s)
        found = messages.kept_alive(body)
        if isinstance(found, Failure):
            raise _refusal(found)
        return found.seconds

    def watch(self, request: messages.WatchFrom) -> Iterator[Watched]:
        """Changes as they come, the first reply without any. It ends when the member ends it or has been silent.

        One attempt: raises Unreachable, Refused, Compacted, ProtocolViolation.
        """
        endpoint, token = self._endpoint(), self._current_token(self._pace.within_s)
        connection = self._opened(endpoint)
        try:
            connection.allow(self._pace.silence_s)
            for status, line in connection.lines("watch", messages.encode(Watch(request)), token):
                reply = messages.watched(line) if status == 200 else messages.failure_of(line)
                if isinstance(reply, Watched) and reply.canceled:
                    if reply.compact_revision:
                        raise Compacted
                    reply = Failure(reply.cancel_reason, PERMISSION_DENIED)
                if isinstance(reply, Failure):
                    self._forget_token(token, reply)
                    raise _refusal(reply)
                yield reply
        except TimeoutError:
            # Nothing happened, or the member is gone without a word: who watches looks, and watches again.
            return
        except BROKEN as error:
            self._turn(endpoint)
            raise Unreachable(f"etcd at {endpoint}: {_why(error)}") from error
        finally:
            self._done(connection)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
            for connection in self._in_use:
                connection.wake()
        for connection in idle:
            connection.close()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond ``close``; whether it is closed."""
        return self._closed.wait(seconds)

    # One request

    def _answered(self, path: str, body: bytes, within_s: float | None) -> bytes:
        """The reply's body. Members are asked in turn, later each time, until ``within_s`` is up."""
        end = time.monotonic() + (within_s or self._pace.within_s)
        waits = BackOff(FIRST_WAIT_NS, LAST_WAIT_NS, self._chance)
        asked = 0
        while True:
            left = end - time.monotonic()
            endpoint = self._endpoint()
            asked += 1
            try:
                return self._once(endpoint, path, body, max(left, 0.05))
            except Unreachable as error:
                self._turn(endpoint)
                self.failures += 1
                last = error
            except (Refused, DiskFull) as error:
                if asked == 1 or path != TRANSACTION:
                    raise
                raise Unreachable(f"{error.message}; an earlier attempt may have been carried out") from error
            # All members at once, then with pauses.
            pause = 0.0 if asked % len(self._address.endpoints) else waits.next_ns() / 1e9
            if time.monotonic() + pause >= end or self._closed.wait(pause):
                raise Unreachable(
                    "the closing of this node came first" if self.closed else f"no member of etcd answers: {last}",
                    hint="See whether a majority of its members runs and can be reached from here.",
                ) from last

    def _once(self, endpoint: Endpoint, path: str, body: bytes, left_s: float) -> bytes:
        """Raises Unreachable if another member, or the same later, may answer."""
        for attempt in (1, 2):
            token = self._current_token(left_s) if path != "auth/authenticate" else ""
            status, found = self._posted(endpoint, path, body, token, left_s)
            if status == 200:
                return found
            failure = messages.failure_of(found)
            if attempt == 1 and token and self._forget_token(token, failure):
                continue
            break
        if failure.code in _TRY_AGAIN or (failure.code == 0 and status >= 500) or _BUSY in failure.message:
            raise Unreachable(f"{endpoint}: {failure.message or f'status {status}'}")
        raise _refusal(failure)

    def _posted(self, endpoint: Endpoint, path: str, body: bytes, token: str, left_s: float) -> tuple[int, bytes]:
        seconds = min(self._pace.request_s, left_s)
        with self._lock:
            found = [each for each in self._idle if each.endpoint == endpoint]
            if found:
                self._idle.remove(found[-1])
                self._in_use.add(found[-1])
        if found:
            try:
                return self._exchanged(found[-1], seconds, path, body, token)
            except BROKEN:
                # It may have been closed while nobody used it; a new one shows what is the matter.
                log.debug("a kept connection to etcd at %s is broken", endpoint)
        try:
            return self._exchanged(self._opened(endpoint), seconds, path, body, token)
        except BROKEN as error:
            raise Unreachable(f"{endpoint}: {_why(error)}") from error

    def _exchanged(
        self, connection: Connection, seconds: float, path: str, body: bytes, token: str
    ) -> tuple[int, bytes]:
        try:
            connection.allow(seconds)
            answer = connection.post(path, body, token)
        except BaseException:
            self._done(connection)
            raise
        with self._lock:
            self._in_use.discard(connection)
            keep = len(self._idle) < IDLE_MAX and not self.closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        return answer

    def _opened(self, endpoint: Endpoint) -> Connection:
        connection = Connection(endpoint, self._tls.context() if self._tls else None)
        with self._lock:
            self._in_use.add(connection)
        if self.closed:
            self._done(connection)
            raise Unreachable("the closing of this node came first")
        return connection

    def _done(self, connection: Connection) -> None:
        with self._lock:
            self._in_use.discard(connection)
        connection.close()

    # Who is asked

    def _endpoint(self) -> Endpoint:
        endpoints = self._address.endpoints
        return endpoints[self._at % len(endpoints)]

    def _turn(self, failed: Endpoint) -> None:
        """Ask the next member from now on, unless another thread has done so."""
        with self._lock:
            if self._endpoint() == failed:
                self._at += 1

    # Who asks

    def _current_token(self, left_s: float) -> str:
        """What shows who this is; empty where nobody has to. Raises Unreachable, Refused."""
        user = self._address.user
        if not user or self._token:
            return self._token
        body = messages.encode(Authenticate(user, self._password))
        try:
            found = messages.decode(self._once(self._endpoint(), "auth/authenticate", body, left_s), Authenticated)
        except Refused as error:
            hint = "Check metadata's user, and the password in TSDB_METADATA_PASSWORD or metadata_password_file."
            text = f'etcd does not let in "{user}": {error.message}'
            raise Refused(error.code, text, hint=error.hint or hint) from None
        self._token = found.token
        return found.token  # type: ignore[no-any-return]

    def _forget_token(self, token: str, failure: Failure) -> bool:
        """Was it refused for its token, which lasts some minutes and no restart of etcd? Then the next is a new one."""
        old = failure.code == UNAUTHENTICATED or any(text in failure.message for text in _OLD_TOKEN)
        if old and self._token == token:
            self._token = ""
        return old


def _refusal(failure: Failure) -> Exception:
    message = f"etcd refuses: {failure.message}"
    if failure.code == OUT_OF_RANGE and "compacted" in failure.message:
        return Compacted(failure.message)
    if failure.code == RESOURCE_EXHAUSTED and _NO_SPACE in failure.message:
        return DiskFull(message, hint="Compact and defragment etcd, then disarm its alarm (etcdctl alarm disarm).")
    if failure.code == PERMISSION_DENIED:
        return Refused(failure.code, message, hint="Grant its user a role that reads and writes the cluster's prefix.")
    if failure.code in (UNAUTHENTICATED, INVALID_ARGUMENT) and "user name is empty" in failure.message:
        return Refused(failure.code, message, hint="It asks for a user: etcd://USER@HOST:PORT and a password.")
    if _NAMED in failure.message:
        return Refused(failure.code, message, hint="Where it has users it takes no certificate with a common name.")
    return Refused(failure.code, message)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ProtocolViolation):
        return error.message
    return str(error) or type(error).__name__
