"""Names of ranges that no other range in reach has (set_rtable_names): ``metrics``, then ``metrics_1``."""

from __future__ import annotations

from tsdb.sql.deparse.nodes import Query, Range


def name_ranges(query: Query, outer: frozenset[str] = frozenset()) -> frozenset[str]:
    """Give a query's own ranges their names; all names that queries inside it cannot take are the answer."""
    counts = dict.fromkeys(outer, 0)
    for each in query.ranges:
        wanted = each.alias or each.own_name
        each.name = _free(wanted, counts)
    return frozenset(counts)


def _free(wanted: str, counts: dict[str, int]) -> str:
    if wanted not in counts:
        counts[wanted] = 0
        return wanted
    while True:
        counts[wanted] += 1
        suffix = f"_{counts[wanted]}"
        name = wanted[: 63 - len(suffix)] + suffix
        if name not in counts:
            counts[name] = 0
            return name


def is_aliased(each: Range) -> bool:
    """Whether a range's name has to be written behind what it is."""
    if each.alias is not None or each.kind in ("subquery", "function"):
        return True
    return each.name != each.own_name
