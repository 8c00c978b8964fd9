"""Rules: plain functions from a plan to a plan, in the order of ``RULES``. None of them changes what a query means.

1. ``needed_columns``: a scan reads the columns the statement uses and no others.
2. ``move_conditions``: a conjunct goes to the scans it speaks of, also through subqueries that only rename.
3. ``prune_by_time``: conjuncts on the time column (and ``time_ns``) become the scan's time range.
4. ``prune_by_tags``: conjuncts on one tag become a test of its distinct values.
5. ``prune_by_fields``: comparisons of a number column with a constant become bounds for blocks' minima and maxima.
6. ``newest_first``: where a few rows of each group in the order of time are all that is needed, a scan gives those.
7. ``aggregate_the_scan``: one aggregate over one series is answered by kernels instead of DuckDB.
8. ``aggregate_in_parts``: what stands around such an aggregate is computed over partial aggregates from kernels.
9. ``select_from_the_scan``: columns of one series are given as the scan has them, without DuckDB.
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.sql.plan import Plan
from tsdb.sql.rules.aggregate_in_parts import aggregate_in_parts
from tsdb.sql.rules.aggregate_the_scan import aggregate_the_scan
from tsdb.sql.rules.move_conditions import move_conditions
from tsdb.sql.rules.needed_columns import needed_columns
from tsdb.sql.rules.newest_first import newest_first
from tsdb.sql.rules.prune_by_fields import prune_by_fields
from tsdb.sql.rules.prune_by_tags import prune_by_tags
from tsdb.sql.rules.prune_by_time import prune_by_time
from tsdb.sql.rules.select_from_the_scan import select_from_the_scan

RULES: tuple[Callable[[Plan], Plan], ...] = (
    needed_columns,
    move_conditions,
    prune_by_time,
    prune_by_tags,
    prune_by_fields,
    newest_first,
    aggregate_the_scan,
    aggregate_in_parts,
    select_from_the_scan,
)


def apply(plan: Plan) -> Plan:
    for rule in RULES:
        plan = rule(plan)
    return plan
