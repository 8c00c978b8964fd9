"""A SELECT that needs a few rows of each group, in the order of time, has its scan give only those (``sql.newest``).

A statement that shows nothing but columns of such rows is answered without DuckDB. One whose rows come in the order of
time, a few of them, and of which rows decide by their fields, runs over the newest part of its range first.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql.expressions.choice import Choice
from tsdb.sql.newest.first_rows import first_rows
from tsdb.sql.newest.needs import Need, need_of
from tsdb.sql.newest.path import Path, Unfit, path_of
from tsdb.sql.newest.widening import widening_of
from tsdb.sql.plan import Plan


def newest_first(plan: Plan) -> Plan:
    found = plan
    for block in plan.blocks:
        choice = block.choice
        if choice is None:
            continue
        alone = choice.sql == plan.sql and len(plan.sources) == 1
        try:
            path = path_of(block, plan)
        except Unfit:
            continue
        try:
            need = need_of(choice, path)
        except Unfit:
            found = _widening(found, choice, path) if alone else found
            continue
        scans = [replace(scan, newest=need) if at == path.at else scan for at, scan in enumerate(found.scans)]
        found = replace(found, scans=tuple(scans))
        if alone:
            found = _direct(found, choice, path, need)
    return found if found is plan else replace(found, rules=(*plan.rules, "newest_first"))


def _direct(plan: Plan, choice: Choice, path: Path, need: Need) -> Plan:
    try:
        return replace(plan, first_rows=first_rows(choice, path, need))
    except Unfit:
        return plan


def _widening(plan: Plan, choice: Choice, path: Path) -> Plan:
    try:
        return replace(plan, widening=widening_of(choice, path))
    except Unfit:
        return plan
