"""Random statements at any of three nodes that all have the points, while leaders go and come, or of four that have
three of four arcs each, while these move, are DuckDB's over one plain table: writes, late points, deletions and updates
by values, flushes, compactions, restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.queries.test_random_queries import run, small_cells
from tests.replicas.replicated_world import ReplicatedWorld, SlottedWorld, SpreadWorld

__all__ = ["small_cells"]


@pytest.mark.parametrize("seed", [1])
def test_statements_at_any_node_do_what_they_do_to_a_plain_table(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 3, ReplicatedWorld)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3000, 3030))
def test_statements_at_any_node_do_what_they_do_to_a_plain_table_at_length(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 12, ReplicatedWorld)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(4000, 4020))
def test_statements_at_any_node_of_a_spread_database_do_the_same_at_length(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 12, SpreadWorld)


@pytest.mark.parametrize("seed", [5000])
def test_statements_on_tables_with_slots_do_the_same(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 3, SlottedWorld)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5001, 5021))
def test_statements_on_tables_with_slots_do_the_same_at_length(seed: int, tmp_path: Path) -> None:
    run(tmp_path, seed, 12, SlottedWorld)
