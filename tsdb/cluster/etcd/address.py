"""Where etcd is, as an operator writes it: ``etcd://[USER@]HOST:PORT[,HOST:PORT…][/PREFIX]``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tsdb.errors import ConfigurationError

SCHEME = "etcd://"
PORT = 2379
PREFIX = "tsdb"
ENDPOINTS_MAX = 32
_ENDPOINT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]{1,128}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One member of etcd, as clients reach it."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """The members of one etcd, and what all keys of the cluster begin with, so that several can share it."""

    endpoints: tuple[Endpoint, ...]
    prefix: str = PREFIX
    user: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{','.join(map(str, self.endpoints))}/{self.prefix}"


def parse(text: str) -> Address:
    """Raises ConfigurationError, which never repeats what may be a password."""
    if not text.startswith(SCHEME):
        raise ConfigurationError("metadata is kept by the nodes themselves (embedded) or at etcd://HOST:PORT,…")
    users, at, rest = text.removeprefix(SCHEME).rpartition("@")
    if ":" in users:
        raise ConfigurationError(
            "a password does not belong into the address of etcd, where others can read it: set "
            "TSDB_METADATA_PASSWORD or metadata_password_file"
        )
    if at and not users:
        raise ConfigurationError("the address of etcd has an @ and no user before it")
    hosts, _, prefix = rest.partition("/")
    prefix = prefix.strip("/") or PREFIX
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(f'"{prefix[:50]}" cannot begin keys: 1 to 128 letters, digits, . _ - and /')
    endpoints = tuple(dict.fromkeys(_endpoint(each.strip()) for each in hosts.split(",")))
    if len(endpoints) > ENDPOINTS_MAX:
        raise ConfigurationError(f"{len(endpoints)} endpoints of etcd, and at most {ENDPOINTS_MAX} are used")
    return Address(endpoints, prefix, users)


def _endpoint(text: str) -> Endpoint:
    found = _ENDPOINT.fullmatch(text)
    port = int(found["port"] or PORT) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise ConfigurationError(f'"{text[:100]}" is no endpoint of etcd: HOST:PORT')
    return Endpoint(found["six"] or found["name"], port)
