"""Who must show a password, and how often one may try. Pure: times are handed in.

Clients on this machine are trusted unless ``password_on_loopback``; all others show a password unless ``insecure``.
Failed logins of one (address, user) are slowed, never those of others, and the table of them is bounded.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache

from tsdb.model.roles import FIRST, Role, Roles

Key = tuple[str, str]

KEYS_MAX = 10_000
FIRST_DELAY_S = 0.2
DELAY_S_MAX = 5.0
# Who would wait longer is refused at once: waiting attempts hold connections.
WAIT_S_MAX = 10.0
FORGOTTEN_AFTER_S = 900.0


@dataclass(frozen=True, slots=True)
class Policy:
    """``tls_required``: clients of other machines must use TLS."""

    insecure: bool = False
    password_on_loopback: bool = False
    tls_required: bool = False

    def trusts(self, host: str) -> bool:
        """Whether a client at this address (``127.0.0.1``, ``::1``; empty: a local socket) needs no password."""
        return self.insecure or (is_local(host) and not self.password_on_loopback)

    def refuses_clear_text(self, host: str) -> bool:
        return self.tls_required and not is_local(host)


@lru_cache(1024)
def is_local(host: str) -> bool:
    """Whether the peer at an address is this machine."""
    if not host:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is: a role's number, and the name it came under. On an open port a name that no role has stands for
    the first role: whoever is trusted could name that one as well."""

    role: int
    name: str


def trusted_identity(roles: Roles, name: str) -> Identity:
    found = roles.by_name.get(name)
    return Identity(found.number if found is not None else FIRST, name)


def can_log_in_by_password(role: Role, now_us: int) -> bool:
    """Whether the role has a password that is still valid."""
    return role.verifier is not None and (role.valid_until_us is None or now_us < role.valid_until_us)


@dataclass(slots=True)
class _Failures:
    count: int
    free_at: float
    last: float


@dataclass
class Attempts:
    """Failed logins by (address, user). Used on the event loop alone."""

    _failures: OrderedDict[Key, _Failures] = field(default_factory=OrderedDict)

    def wait_s(self, key: Key, now: float) -> float | None:
        """How long an attempt has to wait before its password is looked at; None: refuse it at once.

        Attempts of one key that come at the same time wait one after the other.
        """
        found = self._failures.get(key)
        if found is None or now - found.last > FORGOTTEN_AFTER_S:
            return 0.0
        start = max(now, found.free_at)
        if start - now > WAIT_S_MAX:
            return None
        found.free_at = start + _delay(found.count)
        return start - now

    def failed(self, key: Key, now: float) -> None:
        found = self._failures.pop(key, None)
        if found is None or now - found.last > FORGOTTEN_AFTER_S:
            found = _Failures(0, now, now)
        found.count += 1
        found.last = now
        found.free_at = max(found.free_at, now + _delay(found.count))
        self._failures[key] = found
        while len(self._failures) > KEYS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, key: Key) -> None:
        self._failures.pop(key, None)


@dataclass(frozen=True)
class Access:
    """Who is let in, for all clients of a server: SQL and HTTP count failed logins together."""

    policy: Policy = Policy()
    attempts: Attempts = field(default_factory=Attempts)


def _delay(failures: int) -> float:
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 10), DELAY_S_MAX)
