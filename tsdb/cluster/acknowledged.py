"""On how many replicas a write is to be, by the series that it is to, and what became of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tsdb.cluster.led import Leaders
from tsdb.cluster.metadata.agreement import Agreement, Shared
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.messages import FATES, ConfirmOps, Values
from tsdb.errors import TsdbError
from tsdb.model.acks import QUORUM, Fate, strongest, worst
from tsdb.model.catalog import Catalog
from tsdb.model.freshness import Ops
from tsdb.prompt import may_wait

ANSWER_S = 5.0


def wanted_by(catalog: Catalog, leaders: Leaders, numbers: Iterable[int]) -> int:
    """What the series of those numbers say, the strongest of it; a majority is what nobody has said otherwise about."""
    wanted: list[int] = []
    replicas = 1
    for number in {*numbers} if leaders.shared else ():
        found = catalog.series_by_number.get(number)
        if found is not None and found[0].number in leaders.shared:
            wanted.append(QUORUM if found[1].acks is None else found[1].acks)
            replicas = leaders.replica_count(found[0].locations[0].number)
    return strongest(wanted, replicas)


def fate_of(ops: Ops, shared: Shared | None, agreement: Agreement, exchange: Exchange | None, node: int) -> Fate:
    """What became of all ops of a write. The first who knows it of one is right: that does not change. Waits."""
    may_wait()
    fates = dict(zip(ops, shared.confirm(ops), strict=True)) if shared is not None else {}
    open = tuple(op for op in ops if fates.get(op, Fate.UNKNOWN) is Fate.UNKNOWN)
    if open and exchange is not None:
        found = agreement.state
        records = [record for op in open if (record := found.get(LocationRecord, op[0])) is not None]
        others = {voter for record in records for voter in (*record.voters, record.leader)} - {node, 0}
        fates.update(exchange.run(_asked(exchange, others, open)).result())
    return worst(fates.get(op, Fate.UNKNOWN) for op in ops)


async def _asked(exchange: Exchange, nodes: Iterable[int], ops: Ops) -> dict[tuple[int, int, int], Fate]:
    """All at once: it is one small question, and who leads may be the one that is gone."""
    answers = await asyncio.gather(*(_told(exchange, node, ops) for node in nodes))
    fates: dict[tuple[int, int, int], Fate] = {}
    for answer in answers:
        fates.update((op, fate) for op, fate in zip(ops, answer, strict=False) if fate is not Fate.UNKNOWN)
    return fates


async def _told(exchange: Exchange, node: int, ops: Ops) -> list[Fate]:
    try:
        reply = await exchange.ask(node, ConfirmOps(ops), seconds=ANSWER_S)
    except (NoAnswer, TsdbError):
        return []
    numbers = reply.numbers if isinstance(reply, Values) else ()
    return [FATES[number] if 0 <= number < len(FATES) else Fate.UNKNOWN for number in numbers]
