"""What tests of a replicated database in one process begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.group.together import Together
from tests.replicas.replicated import Replicated, replicated
from tests.routing.spread import SqlPorts


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Replicated]:
    """Three nodes of a test's own, which it may stop; a module whose tests stop none has one for all of them."""
    with replicated(Together(tmp_path), Replicated) as cluster:
        yield cluster


@pytest.fixture
def ports(tmp_path: Path, cluster: Replicated) -> Iterator[SqlPorts]:
    """Ports to connect to at any of its nodes."""
    ports = SqlPorts(tmp_path)
    yield ports
    ports.close()
