"""A SELECT that needs a few rows of each group, in the order of time, has its scan give only those (``sql.newest``).

A statement that shows nothing but columns of such rows is answered without DuckDB.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql.newest.first_rows import first_rows
from tsdb.sql.newest.needs import need_of
from tsdb.sql.newest.path import Unfit, path_of
from tsdb.sql.newest.plan import FirstRows
from tsdb.sql.plan import Plan


def newest_first(plan: Plan) -> Plan:
    scans = list(plan.scans)
    direct: FirstRows | None = None
    for block in plan.blocks:
        if block.choice is None:
            continue
        try:
            path = path_of(block, plan)
            need = need_of(block.choice, path)
            scans[path.at] = replace(scans[path.at], newest=need)
            if block.choice.sql == plan.sql and len(plan.sources) == 1:
                direct = first_rows(block.choice, path, need)
        except Unfit:
            continue
    if all(scan.newest is None for scan in scans):
        return plan
    return replace(plan, scans=tuple(scans), first_rows=direct, rules=(*plan.rules, "newest_first"))
