"""Random statements at any of three nodes, over points that are spread over them, are DuckDB's over one plain table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.queries.test_random_queries import run, small_cells
from tests.routing.spread import SpreadWorld

__all__ = ["small_cells"]


@pytest.mark.parametrize("seed", [2])
def test_queries_at_any_node_are_those_of_a_plain_table(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 3, SpreadWorld)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2000, 2030))
def test_queries_at_any_node_are_those_of_a_plain_table_at_length(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 15, SpreadWorld)
