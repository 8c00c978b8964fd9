"""A SELECT that needs a few rows of each group, in the order of time, has its scan give only those (``sql.newest``)."""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql.newest.needs import need_of
from tsdb.sql.newest.path import Unfit, path_of
from tsdb.sql.plan import Plan


def newest_first(plan: Plan) -> Plan:
    scans = list(plan.scans)
    for block in plan.blocks:
        if block.choice is None:
            continue
        try:
            path = path_of(block, plan)
            need = need_of(block.choice, path)
        except Unfit:
            continue
        scans[path.at] = replace(scans[path.at], newest=need)
    if all(scan.newest is None for scan in scans):
        return plan
    return replace(plan, scans=tuple(scans), rules=(*plan.rules, "newest_first"))
