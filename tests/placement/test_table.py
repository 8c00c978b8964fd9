"""A plan as text."""

from __future__ import annotations

from dataclasses import replace

from tests.placement.layouts import GIB, location_of, nodes_of
from tsdb.cluster.placement.layout import Layout, NodeState
from tsdb.cluster.placement.plan import dry_run
from tsdb.cluster.placement.table import plan_text, size_text


def test_a_plan_says_what_moves_why_and_what_each_node_has_then() -> None:
    nodes = (NodeState(1, "a"), NodeState(2, "b", draining=True), NodeState(3, "b"))
    layout = Layout(nodes, (location_of(1, 2, (1, 2), 3 * GIB), location_of(2, 2, (2, 1), GIB // 2)))
    assert plan_text(dry_run(layout)) == (
        "location  from  to  bytes    why\n"
        "1         2     3   3.0 GiB  a node drains\n"
        "2         2     3   512 MiB  a node drains\n"
        "\n"
        "node  zone  replicas  bytes              leads\n"
        "1     a     2 → 2     3.5 GiB → 3.5 GiB  1 → 1\n"
        "2     b     2 → 0     3.5 GiB → 0 B      1 → 0\n"
        "3     b     0 → 2     0 B → 3.5 GiB      0 → 1\n"
        "\n"
        "2 replicas and 3.5 GiB to move, 8 steps, about 2 min\n"
    )


def test_a_plan_with_nothing_to_do_says_so() -> None:
    layout = Layout(nodes_of(1), (location_of(1, 1, (1,)),))
    assert plan_text(dry_run(layout)) == "nothing to do: all locations are where they should be\n"


def test_a_long_plan_is_cut_and_what_waits_is_named() -> None:
    nodes = (*nodes_of(3)[:2], replace(nodes_of(3)[2], silence_s=1e6))
    layout = Layout(nodes, tuple(location_of(n, 3, (1, 2, 3)) for n in range(1, 21)))
    text = plan_text(dry_run(layout), rows_max=2)
    assert "20 locations wait for a node that is silent, or for more nodes: 1, 2, 3, 4, 5, 6, 7, 8, …" in text
    drained = Layout((*nodes_of(3), NodeState(4)), tuple(location_of(n, 1, (1 + n % 3,)) for n in range(1, 40)))
    assert "\n… and " in plan_text(dry_run(drained), rows_max=2)


def test_sizes_have_three_digits_or_so() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 99 * 1024, 1 << 40, 1 << 53)] == [
        "0 B", "1023 B", "1.0 KiB", "99.0 KiB", "1.0 TiB", "8192 TiB",
    ]  # fmt: skip
