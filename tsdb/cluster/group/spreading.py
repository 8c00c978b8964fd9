"""Into which arcs the ring of a database is cut, as an operator asks for it. On the event loop of the group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeAlias

from tsdb.cluster.group.balancing import ANSWER_S, Balanced, check_gathered, unanswered
from tsdb.cluster.metadata.commands import Expected, SpreadDatabase
from tsdb.cluster.metadata.records import Member, Ring
from tsdb.cluster.operations import name_of
from tsdb.cluster.replicas import dividing
from tsdb.cluster.replicas.dividing import Division
from tsdb.cluster.routing.exchange import NoAnswer
from tsdb.cluster.routing.messages import LookAtWritten, Values
from tsdb.errors import TsdbError

log = logging.getLogger(__name__)

_Divide: TypeAlias = Callable[[Ring, Mapping[int, int], int | None], Division]


async def spread(group: Balanced, ring: Ring, arcs: int, name: str) -> str:
    """Into so many equal ones. What was done, as text; ``name``: of who asks for it."""
    title = name_of(group.state, ring.database)
    if (ring.arcs_wanted or ring.arcs) == arcs and not (ring.cuts_wanted if ring.arcs_wanted else ring.cuts):
        return f"the ring of {title} {'will have' if ring.arcs_wanted else 'has'} {_count(arcs)} already"
    log.warning("%s has the ring of %s cut into %s", name, title, _count(arcs))
    return await _cut(group, ring, SpreadDatabase(ring.database, arcs))


async def split(group: Balanced, ring: Ring, arc: int, name: str, *, is_dry: bool) -> str:
    """An arc, from 1 on, in two at the median of what was written to it; 0: that to which most was."""
    title, found = await _divided(group, ring, arc, dividing.split)
    first, second = found.arc + 1, found.arc + 2
    what = f"arc {first} of the {ring.arcs} of {title}" if ring.arcs > 1 else f"the ring of {title}"
    into = f"{_size(found, 0)} ({_part(found, 0)}) and {_size(found, 1)} ({_part(found, 1)})"
    if is_dry:
        return f"{what} would be cut into arcs {first} and {second} of {ring.arcs + 1}: {into}"
    log.warning("%s has %s cut in two", name, what)
    done = await _cut(group, ring, SpreadDatabase(ring.database, ring.arcs + 1, found.begins))
    return f"{what} is cut into arcs {first} and {second}: {into}\n{done}"


async def merge(group: Balanced, ring: Ring, arc: int, name: str, *, is_dry: bool) -> str:
    """An arc, from 1 on, and the next one become one; 0: the two to which least was written."""
    title, found = await _divided(group, ring, arc, dividing.merge)
    first, second = found.arc + 1, found.arc + 2
    what = (
        f"arcs {first} and {second} of the {ring.arcs} of {title}, {_size(found, 0)} ({_part(found, 0)}) and "
        f"{_size(found, 1)} ({_part(found, 1)}),"
    )
    if is_dry:
        return f"{what} would become one"
    log.warning("%s has %s become one", name, what)
    done = await _cut(group, ring, SpreadDatabase(ring.database, ring.arcs - 1, found.begins))
    return f"{what} become one\n{done}"


async def _divided(group: Balanced, ring: Ring, arc: int, divide: _Divide) -> tuple[str, Division]:
    """The database's name, and what its ring becomes by what was written to it."""
    check_gathered(group.state, ring, group.answers)
    title = name_of(group.state, ring.database)
    try:
        return title, divide(ring, await _written(group, ring), arc - 1 if arc else None)
    except TsdbError as error:
        _fail(error, title)


async def _cut(group: Balanced, ring: Ring, action: SpreadDatabase) -> str:
    """Raises SerializationFailure if the ring has changed since it was looked at."""
    answer = await group.propose_here(action, (Expected("ring", ring.database, ring.changed),))
    title = name_of(group.state, ring.database)
    if answer.values != (action.arcs,):
        return (
            f"the ring of {title} will have {_count(action.arcs)} when the parts of each are at the same nodes; until "
            f"then it has {answer.values[0]}: tsdb.locations shows how far that is (goal)"
            + unanswered(group.state, ring.database, group.answers)
        )
    after = "" if action.arcs == 1 else "; each goes to nodes of its own with the next tsdb cluster rebalance"
    return f"the ring of {title} has {_count(action.arcs)}{after}"


async def _written(group: Balanced, ring: Ring) -> dict[int, int]:
    """Rows written of late, by location: as who knows most of it says, for a node may have begun to count later."""
    node = group.engine.node
    others = [each.node for each in group.state.all(Member) if not each.gone and each.node != node]
    asked = await asyncio.gather(*(_asked(group, other, ring.database) for other in others))
    found = [group.engine.written(ring.database), *asked]
    locations = [each.location for each in ring.maps[-1].intervals]
    return {location: max(each.get(location, 0) for each in found) for location in locations}


async def _asked(group: Balanced, node: int, database: int) -> dict[int, int]:
    """Nothing from one that does not answer."""
    if not group.answers(node):
        return {}
    try:
        reply = await group.exchange.ask(node, LookAtWritten(database), seconds=ANSWER_S)
    except (TsdbError, NoAnswer):
        return {}
    numbers = reply.numbers if isinstance(reply, Values) else ()
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def _fail(error: TsdbError, title: str) -> NoReturn:
    raise type(error)(f"{title}: {error.message}", hint=error.hint) from None


def _count(arcs: int) -> str:
    return "one arc" if arcs == 1 else f"{arcs} arcs"


def _size(found: Division, which: int) -> str:
    count = found.locations[which]
    return "one location" if count == 1 else f"{count} locations"


def _part(found: Division, which: int) -> str:
    if found.shares is None:
        return "nothing known to have been written"
    return f"{found.shares[which]:.1%} of the rows written of late"
