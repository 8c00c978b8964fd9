"""Where etcd is: what an operator writes, and what of it is refused."""

from __future__ import annotations

import pytest

from tsdb.cluster.etcd.address import Address, Endpoint, parse
from tsdb.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "endpoints", "prefix", "user"),
    [
        ("etcd://localhost", [("localhost", 2379)], "tsdb", ""),
        ("etcd://10.0.0.1:1,10.0.0.2:2", [("10.0.0.1", 1), ("10.0.0.2", 2)], "tsdb", ""),
        ("etcd://a:1,a:1", [("a", 1)], "tsdb", ""),
        ("etcd://[::1]:5,etcd.example.org", [("::1", 5), ("etcd.example.org", 2379)], "tsdb", ""),
        ("etcd://ann@a:1/metrics/eu/", [("a", 1)], "metrics/eu", "ann"),
    ],
)
def test_addresses_are_read(text: str, endpoints: list[tuple[str, int]], prefix: str, user: str) -> None:
    assert parse(text) == Address(tuple(Endpoint(*each) for each in endpoints), prefix, user)
    assert parse(str(parse(text))).endpoints == tuple(Endpoint(*each) for each in endpoints)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost:2379", "etcd://HOST:PORT"),
        ("http://localhost", "etcd://HOST:PORT"),
        ("etcd://", "no endpoint"),
        ("etcd://a:0", "no endpoint"),
        ("etcd://a:65536", "no endpoint"),
        ("etcd://a,,b", "no endpoint"),
        ("etcd://::1:2379", "no endpoint"),
        ("etcd://@a", "no user before it"),
        ("etcd://a/p q", "cannot begin keys"),
        ("etcd://" + ",".join(f"h{n}" for n in range(33)), "33 endpoints"),
    ],
)
def test_what_is_no_address_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        parse(text)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="TSDB_METADATA_PASSWORD") as refused:
        parse("etcd://ann:hush@a:2379")
    assert "hush" not in str(refused.value)
