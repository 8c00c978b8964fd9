"""A scan reads the columns the statement uses and no others."""

from __future__ import annotations

from dataclasses import replace

from tsdb.model.store import TIME
from tsdb.sql.plan import Plan


def needed_columns(plan: Plan) -> Plan:
    scans = []
    for scan in plan.scans:
        used = tuple(scan.source.columns)
        # count(*) reads no column, but rows have to be counted: the time is the cheapest.
        scans.append(replace(scan, columns=used or (TIME,)))
    return replace(plan, scans=tuple(scans), rules=(*plan.rules, "needed_columns"))
