"""Which Host and Origin an open loopback port accepts."""

from __future__ import annotations

import pytest

from tsdb.http.guard import refusal


@pytest.mark.parametrize("host", [None, "localhost", "localhost:8086", "127.0.0.1:80", "[::1]:8086", "LOCALHOST"])
@pytest.mark.parametrize("origin", [None, "http://localhost:3000", "http://127.0.0.1", "https://[::1]:1"])
def test_this_machine_is_served(host: str | None, origin: str | None) -> None:
    assert refusal(host, origin) is None


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "localhost.example.org:8086", "[::2]", "["])
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    assert "Host" in (refusal(host, None) or "")


@pytest.mark.parametrize("origin", ["http://example.org", "null", "http://localhost.example.org", "http://["])
def test_a_page_from_elsewhere_is_refused(origin: str) -> None:
    assert "Origin" in (refusal("localhost", origin) or "")
