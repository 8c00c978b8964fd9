"""A rebalance, as an operator asks for it: sizes and loads from all nodes, a plan, and the goals that have it done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from tsdb.cluster.metadata.commands import Action, Expected, SetGoals
from tsdb.cluster.metadata.records import ARCS_MAX, Answer, Goal, Member, Ring, goal_number
from tsdb.cluster.metadata.state import State
from tsdb.cluster.operations import name_of
from tsdb.cluster.placement.limits import Limits
from tsdb.cluster.placement.plan import Plan
from tsdb.cluster.placement.table import plan_text
from tsdb.cluster.replicas.balance import goals_of, plan_of, too_busy, whole
from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.messages import LOADS, LookAtSizes, Values
from tsdb.errors import ObjectNotInPrerequisiteState, TsdbError
from tsdb.storage.engine import Engine

ANSWER_S = 5.0


class Balanced(Protocol):
    """The part of ``group.Group`` that is needed here, on its event loop."""

    engine: Engine
    exchange: Exchange
    copy_rate: int

    @property
    def state(self) -> State: ...

    async def propose_here(self, action: Action, expected: tuple[Expected, ...] = ()) -> Answer: ...

    def answers(self, node: int) -> bool: ...


async def rebalance(group: Balanced, *, is_dry: bool) -> str:
    """The plan as text, which is begun unless it is a dry run. Raises TsdbError."""
    for each in group.state.all(Ring):
        check_gathered(group.state, each, group.answers)
    sizes, loads = await _looked(group)
    limits = Limits(bytes_per_second=group.copy_rate) if group.copy_rate else Limits()
    state = group.state
    plan = plan_of(state, sizes, loads, group.answers, limits)
    text = text_of(plan, state)
    if (goals := goals_of(plan)) and not is_dry:
        databases = sorted({Goal(number, ()).database for number, _ in goals})
        rings = [ring for number in databases if (ring := state.get(Ring, number)) is not None]
        for ring in rings:
            # It may have got other arcs while the nodes were asked.
            check_gathered(state, ring, group.answers)
        await group.propose_here(
            SetGoals(goals), tuple(Expected("ring", ring.database, ring.changed) for ring in rings)
        )
        count = len(databases)
        are = "database is on its" if count == 1 else "databases are on their"
        text += f"\n{count} {are} way: tsdb.locations shows how far (goal)"
    return text


def unanswered(state: State, database: int, answers: Callable[[int], bool]) -> str:
    """Which nodes are waited for in vain that arcs of a database are to be at: a sentence's end, or nothing."""
    goals = [each for each in state.all(Goal) if each.database == database]
    silent = sorted({node for each in goals for node in each.nodes if not answers(node)})
    if not silent:
        return ""
    names = ", ".join(f"node {node}" for node in silent)
    return f"; waited for, and not answering: {names}"


def check_gathered(state: State, ring: Ring, answers: Callable[[int], bool]) -> None:
    """Raises ObjectNotInPrerequisiteState for one whose arcs become others."""
    if ring.arcs_wanted:
        waits = unanswered(state, ring.database, answers)
        raise ObjectNotInPrerequisiteState(
            f"{name_of(state, ring.database)} is being gathered from {ring.arcs} arcs to {ring.arcs_wanted}{waits}",
            hint="Wait until that is done: tsdb.locations shows how far (goal)."
            + f" Or start that node, or spread the database into {ARCS_MAX} arcs, which need not come together."
            * bool(waits),
        )


def text_of(plan: Plan, state: State) -> str:
    """The plan for people; what was planned before, and is on its way, is no part of it."""
    begun = len({each.database for each in state.all(Goal)})
    if begun and not plan.moves and not plan.waiting:
        what = "1 database is" if begun == 1 else f"{begun} databases are"
        return f"nothing more to do: {what} on the way already, tsdb.locations shows how far (goal)"
    names = {
        goal_number(number, arc): f"{database.name} {arc + 1}/{ring.arcs}" if ring.arcs > 1 else database.name
        for number, database in state.catalog.databases_by_number.items()
        if (ring := state.get(Ring, number)) is not None
        for arc in range(ring.arcs)
    }
    return plan_text(plan, names).rstrip("\n") + "".join(_advice(plan, state))


def _advice(plan: Plan, state: State) -> Iterator[str]:
    for number, arcs in too_busy(plan, state).items():
        name = name_of(state, number)
        yield (
            f"\n{name} makes more work than a node's share, wherever it is: cut into {arcs} arcs it could be shared "
            "(tsdb cluster spread)"
        )


_Numbers: TypeAlias = Mapping[int, int]
"""By database."""


async def _looked(group: Balanced) -> tuple[_Numbers, _Numbers]:
    """What a replica of all of each database has on disk and makes of work: of who has or does most of it, among the
    nodes that answer."""
    node = group.engine.node
    others = [each.node for each in group.state.all(Member) if not each.gone and each.node != node]
    own = group.engine.sizes(), group.engine.loads()
    found = [own, *await asyncio.gather(*(_asked(group, other) for other in others))]
    sizes, loads = (
        _most(whole(group.state, of, each) for of, each in zip((node, *others), numbers, strict=True))
        for numbers in zip(*found, strict=True)
    )
    return sizes, loads


def _most(of_nodes: Iterable[_Numbers]) -> _Numbers:
    most: dict[int, int] = {}
    for numbers in of_nodes:
        for database, number in numbers.items():
            most[database] = max(most.get(database, 0), number)
    return most


async def _asked(group: Balanced, node: int) -> tuple[_Numbers, _Numbers]:
    """Nothing from one that does not answer."""
    if not group.answers(node):
        return {}, {}
    try:
        reply = await group.exchange.ask(node, LookAtSizes(loads=True), seconds=ANSWER_S)
    except (TsdbError, NoAnswer):
        return {}, {}
    return told(reply.numbers if isinstance(reply, Values) else ())


def told(numbers: Sequence[int]) -> tuple[_Numbers, _Numbers]:
    """Sizes and loads as a node has told them, one of an older version without loads."""
    if numbers and numbers[0] == LOADS:
        return dict(zip(numbers[1::3], numbers[2::3], strict=True)), dict(
            zip(numbers[1::3], numbers[3::3], strict=True)
        )
    return dict(zip(numbers[::2], numbers[1::2], strict=True)), {}
