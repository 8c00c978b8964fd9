"""What placement costs as a cluster grows: how long it takes to decide, how many steps there are, and how many bytes of
metadata. Everything is computed; no server is started."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.report import Grid, number
from benchmarks.tasks.task import MIB, parser, publish, say
from tsdb.cluster.metadata.commands import Activate, Assign, Command, encode
from tsdb.cluster.metadata.locations import first_nodes
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import Interval, LocationRecord, Member, Ring, RingMap
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.plan import Plan, dry_run
from tsdb.cluster.placement.schedule import next_steps
from tsdb.cluster.placement.solver import solve
from tsdb.cluster.placement.steps import Step, action_of
from tsdb.model.ring import equal_locations

FACTOR = 3
SIZE_MEAN = 256 * MIB
SIZES = ((3, 96), (3, 1_000), (10, 1_000), (30, 1_000), (30, 10_000), (100, 10_000))


@dataclass(frozen=True)
class Case:
    """A change of a cluster: what it is called, and the layout that it leaves to be mended."""

    name: str
    layout: Layout


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    parsed = parser("placement", __doc__ or "").parse_args(arguments)
    plans, kept = [], []
    for nodes, locations in SIZES:
        say(f"{nodes} nodes, {locations} locations")
        even = dry_run(_cluster(nodes, locations), begun=True).after
        for case in _cases(even):
            plans.append((f"{nodes:,} · {locations:,}", case.name, *_measure(case.layout)))
        kept.append((f"{nodes:,} · {locations:,}", *_metadata(even)))
    say("3 nodes become 100")
    nodes, locations = SIZES[-1]
    three = dry_run(_cluster(3, locations), begun=True).after
    plans.append((f"3 · {locations:,}", f"{nodes - 3} nodes more", *_measure(_grown(three, nodes - 3))))
    grids = [
        Grid(
            "Plans (replication factor 3, sizes and loads from 1/4 to 4 of a mean)",
            ("nodes · locations", "change", "solve (ms)", "next steps (ms)", "dry run (ms)", "steps", "moved (GiB)",
             "part of the least", "commands (KiB)"),
            plans,
        ),
        Grid("Metadata", ("nodes · locations", "records (KiB)", "bytes a location"), kept),
    ]  # fmt: skip
    remark = (
        "A decision is solved anew at each step: solve and next steps are what one costs; the dry run is all of it. "
        "The least is what has to move at any rate: what nodes lack then, or have too much."
    )
    return publish("placement", grids, remark, parsed.markdown)


def _cluster(nodes: int, locations: int) -> Layout:
    chance = random.Random(nodes * 100_003 + locations)
    states = tuple(NodeState(n, f"zone {n % 3}", capacity_bytes=1 << 40) for n in range(1, nodes + 1))
    members = [Member(each.node, bytes(16), (), each.zone, 0) for each in states]
    found = []
    for n in range(1, locations + 1):
        chosen = first_nodes(n, members, FACTOR)
        voters = tuple(sorted(chosen))
        size = int(SIZE_MEAN * 4 ** chance.uniform(-1, 1))
        load = 100 * 4 ** chance.uniform(-1, 1)
        found.append(LocationState(n, FACTOR, size, load, chosen[0], voters, active_voters=voters))
    return Layout(states, tuple(found))


def _cases(even: Layout) -> list[Case]:
    count = len(even.nodes)
    last = even.nodes[-1]
    silent = [replace(each, leader=_other(each, last.node)) for each in even.locations]
    cases = [
        Case("none", even),
        Case("3 nodes more", _grown(even, 3)),
    ]
    if count > FACTOR:
        cases += [
            Case("one drains", Layout((*even.nodes[:-1], replace(last, draining=True)), even.locations)),
            Case("one is lost", Layout((*even.nodes[:-1], replace(last, silence_s=1e6)), tuple(silent))),
        ]
    return cases


def _grown(layout: Layout, more: int) -> Layout:
    count = len(layout.nodes)
    new = [NodeState(n, f"zone {n % 3}", capacity_bytes=1 << 40) for n in range(count + 1, count + more + 1)]
    return Layout((*layout.nodes, *new), layout.locations)


def _other(at: LocationState, node: int) -> int:
    return next(each for each in at.voters if each != node) if at.leader == node else at.leader


def _measure(layout: Layout) -> tuple[str, ...]:
    begin = time.process_time()
    placement = solve(layout)
    solved = time.process_time()
    next_steps(layout, placement)
    stepped = time.process_time()
    plan = dry_run(layout)
    done = time.process_time()
    least = _least(plan)
    return (
        number((solved - begin) * 1000),
        number((stepped - solved) * 1000),
        number((done - stepped) * 1000),
        f"{len(plan.steps):,}",
        number(plan.moved_bytes / 1024 / MIB),
        f"{plan.moved_bytes / least:.3f}" if least else "-",
        number(_command_bytes([timed.step for timed in plan.steps]) / 1024),
    )


def _least(plan: Plan) -> float:
    """The bytes that have to move to be as even as the plan leaves it, wherever they come from."""
    held = dict.fromkeys((each.node for each in plan.before.nodes), 0)
    after = dict(held)
    for before, later in zip(plan.before.locations, plan.after.locations, strict=True):
        for node in before.voters:
            held[node] += before.size_bytes
        for node in later.voters:
            after[node] += later.size_bytes
    return float(sum(max(0, after[node] - held[node]) for node in held))


def _command_bytes(steps: Sequence[Step]) -> int:
    """Of all commands if each step has its own, and of the activations of its epochs."""
    total = 0
    for step in steps:
        for action in action_of([step]):
            total += len(encode(Command(action)))
            if isinstance(action, Assign):
                total += len(encode(Command(Activate(((step.location, step.epoch),)))))
    return total


def _metadata(layout: Layout) -> tuple[str, ...]:
    """The records of members, rings and locations, as a snapshot has them."""
    machine = Machine()
    tables = machine.state.tables
    empty = len(machine.snapshot())
    for node in layout.nodes:
        tables[Member][node.node] = Member(
            node.node, bytes(16), (("peer", "node.example:5480"),), node.zone, node.capacity_bytes
        )
    for at in layout.locations:
        tables[LocationRecord][at.location] = LocationRecord(
            at.location, 1, 5, at.leader, at.voters, (), 5, at.voters, changed=1_000_000
        )
    intervals = tuple(Interval(e.number, e.low, e.high - 1) for e in equal_locations(1, len(layout.locations)))
    tables[Ring][1] = Ring(1, FACTOR, (RingMap(1, -(2**63), intervals),))
    size = len(machine.snapshot()) - empty
    return number(size / 1024), number(size / len(layout.locations))
