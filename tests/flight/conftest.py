"""A server in this process with Arrow Flight on, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.auth.conftest import Running, running
from tsdb.client import Client, connect


@pytest.fixture(scope="module")
def flying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("flying") / "data", None, flight_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_flying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everybody shows a password."""
    folder = tmp_path_factory.mktemp("guarded")
    with running(folder / "data", flight_port=0, loopback_password="true") as server:
        yield server


def port_of(running: Running) -> int:
    assert running.server.flight_port is not None
    return running.server.flight_port


@pytest.fixture
def db(flying: Running) -> Iterator[Client]:
    with connect(port=port_of(flying)) as client:
        yield client


@pytest.fixture
def sql(flying: Running) -> Iterator[psycopg.Connection]:
    with flying.connect(password=None) as connection:
        yield connection
