"""Series whose buckets are cut into slots."""

from __future__ import annotations

from tsdb.cluster.node import Node
from tsdb.model.schema import SetSlots, SettleSlots


def cut_buckets(node: Node, database: str, series: str, begin: int, bits: int) -> None:
    """Cut a series' buckets into 2 ** ``bits`` slots from the bucket ``begin`` on, of which none has a point."""
    node.change(SetSlots(database, series, 1 << bits, begin), SettleSlots(database, series, begin))
