"""Three nodes, as processes or in this one. A node is closed by the test that opened it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.leftovers import nothing_left
from tests.fixtures.waiting import until
from tests.group.nodes import Nodes
from tests.group.together import Together

__all__ = ["nothing_left"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes, all running; tests leave them so."""
    nodes = Nodes(tmp_path_factory.mktemp("three"))
    try:
        nodes.begin()
        yield nodes
    finally:
        nodes.end()


@pytest.fixture
def together(tmp_path: Path) -> Iterator[Together]:
    """Three nodes in this process, all with a vote."""
    together = Together(tmp_path)
    together.found()
    try:
        together.start(1)
        for place in (2, 3):
            together.start(place, join=1)
        until(lambda: together.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
        yield together
    finally:
        together.end()
