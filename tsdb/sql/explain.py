"""EXPLAIN [ANALYZE]: what each scan is asked for and, after running, what it read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from tsdb.model.continuous import Spans
from tsdb.model.store import FieldBound, Newest, Scan, ScanRequest, ScanStatistics, TimeRange, View
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.sql.context import Context
from tsdb.sql.newest.plan import Widening
from tsdb.sql.plan import Plan
from tsdb.sql.result import ResultColumn, Statistics
from tsdb.sql.statement import Explain
from tsdb.sql.values import moment
from tsdb.types import JSON, TEXT

if TYPE_CHECKING:
    from tsdb.sql.query import Queries

SPANS_SHOWN = 4
_TEXT_COLUMNS = (ResultColumn("QUERY PLAN", TEXT),)
_JSON_COLUMNS = (ResultColumn("QUERY PLAN", JSON),)


def columns_of(statement: Explain) -> tuple[ResultColumn, ...]:
    """One column: lines of text, or one value of json."""
    return _JSON_COLUMNS if statement.options.get("format") == "json" else _TEXT_COLUMNS


class ExplainRows:
    """The lines of a plan as rows."""

    def __init__(self, columns: tuple[ResultColumn, ...], lines: Sequence[str], statistics: Statistics) -> None:
        self._columns = columns
        self._batches = iter([pa.record_batch([pa.array(lines, pa.string())], names=[columns[0].name])])
        self._statistics = statistics

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._columns

    @property
    def statistics(self) -> Statistics:
        return self._statistics

    @property
    def ended(self) -> bool:
        return False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)

    def cancel(self) -> None:
        """Nothing runs any more."""

    def close(self) -> None:
        """Nothing is held."""


def run(
    queries: Queries, statement: Explain, plan: Plan, view: View, values: Sequence[object | None], context: Context
) -> ExplainRows:
    """The plan's text; with ANALYZE the query runs first, its rows are counted and thrown away."""
    started = time.perf_counter()
    if not plan.parameters or len(values) == len(plan.parameters):
        requests = queries.scan_requests(plan, queries.values(plan, values, context), context, view)
    planning = time.perf_counter() - started
    statistics = Statistics()
    if statement.analyze:
        columns = tuple(ResultColumn(o.name, o.type) for o in plan.outputs)
        rows = queries.execute(plan, columns, cast(View, _Measured(view)), values, context)
        try:
            for _ in rows:
                pass
            statistics = rows.statistics
        finally:
            rows.close()
    asked = [request for _, request in requests]
    if statement.options.get("format") == "json":
        shown: dict[str, object] = {"Plan": _node(plan, asked, statistics, statement, context)}
        if statement.analyze:
            shown |= {"Planning Time": round(planning * 1000, 3), "Execution Time": round(statistics.seconds * 1000, 3)}
        return ExplainRows(columns_of(statement), [json.dumps([shown], indent=2, ensure_ascii=False)], statistics)
    lines = list(_lines(plan, asked, statistics, statement, context))
    if statement.analyze:
        lines.append(f"Planning Time: {planning * 1000:.3f} ms")
        lines.append(f"Execution Time: {statistics.seconds * 1000:.3f} ms")
    return ExplainRows(columns_of(statement), lines, statistics)


class _Measured:
    """A view whose scans count the bytes that come from other nodes."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def scan(self, request: ScanRequest) -> Scan:
        return self._view.scan(replace(request, measured=True))


def _lines(
    plan: Plan, requests: Sequence[ScanRequest], statistics: Statistics, statement: Explain, context: Context
) -> Iterator[str]:
    rows = f" (actual rows={statistics.rows})" if statement.analyze else ""
    where = _where(plan, requests, context)
    yield f"Query in {where} over {len(requests)} scan{'' if len(requests) == 1 else 's'}{rows}"
    for index, request in enumerate(requests):
        yield f"  ->  Scan on {request.series.name}"
        yield f"        Columns: {', '.join(_name(request, key) for key in request.columns)}"
        yield f"        Time: {_range(request)}"
        if request.within is not None:
            yield f"        Spans: {_spans(request.within)}"
        if request.tags:
            names = [request.series.by_number[t.column].name for t in request.tags]
            yield f"        Tags: {', '.join(names)}"
        for bound in request.bounds:
            yield f"        Field: {_bound(request, bound)}"
        if request.newest is not None:
            yield f"        {_newest(request, request.newest)}"
        if plan.widening is not None and context.prune:
            yield f"        {_widening(plan.widening)}"
        if statement.analyze and index < len(statistics.scans):
            yield from _counts(statistics.scans[index][1])
    yield f"Rules: {', '.join(plan.rules) if context.prune else 'none (tsdb.prune is off)'}"


def _where(plan: Plan, requests: Sequence[ScanRequest], context: Context) -> str:
    """What answers the query, if all of its constants are known when it starts."""
    if not context.prune:
        return "DuckDB"
    if plan.first_rows is not None and any(request.newest is not None for request in requests):
        return "kernels"
    if plan.aggregate is not None:
        return "kernels" if plan.aggregate.in_utc(requests[0].range, context.time_zone) is not None else "DuckDB"
    if plan.partial is not None:
        whole = plan.partial.aggregate.in_utc(requests[0].range, context.time_zone) is not None
        return "DuckDB over aggregates from kernels" if whole else "DuckDB"
    return "the scan" if plan.selection is not None else "DuckDB"


def _node(
    plan: Plan, requests: Sequence[ScanRequest], statistics: Statistics, statement: Explain, context: Context
) -> dict[str, Any]:
    """What ``_lines`` says, in the form of PostgreSQL's FORMAT JSON."""
    scans = []
    for index, request in enumerate(requests):
        scan: dict[str, Any] = {
            "Node Type": "Scan",
            "Relation Name": request.series.name,
            "Columns": [_name(request, key) for key in request.columns],
            "Time": _range(request),
        }
        if request.tags:
            scan["Tags"] = [request.series.by_number[t.column].name for t in request.tags]
        if request.bounds:
            scan["Fields"] = [_bound(request, bound) for bound in request.bounds]
        if request.newest is not None:
            scan["Newest"] = _newest(request, request.newest)
        elif plan.widening is not None and context.prune:
            scan["Newest"] = _widening(plan.widening)
        if statement.analyze and index < len(statistics.scans):
            counted = asdict(statistics.scans[index][1])
            scan |= {name.replace("_", " ").title(): value for name, value in counted.items()}
        scans.append(scan)
    node: dict[str, Any] = {"Node Type": f"Query in {_where(plan, requests, context)}"}
    if statement.analyze:
        node["Actual Rows"] = statistics.rows
    return {**node, "Rules": list(plan.rules) if context.prune else [], "Plans": scans}


def _counts(counted: ScanStatistics) -> Iterator[str]:
    yield (
        f"        Blocks: {counted.blocks_total} total, {counted.blocks_pruned_time} pruned by time, "
        f"{counted.blocks_pruned_tags} by tags, {counted.blocks_pruned_fields} by fields, "
        f"{counted.blocks_older} by newest first, {counted.blocks_read} read"
    )
    yield (
        f"        Rows: {counted.rows_read} read, {counted.rows_head} from the head, {counted.merged_rows} merged, "
        f"{counted.rows_returned} returned"
    )
    if counted.cells_used:
        yield f"        Summaries: {counted.cells_used} spans of {counted.rows_in_cells} rows"
    if counted.tagsets_total:
        yield f"        Tag sets: {counted.tagsets_matched} of {counted.tagsets_total}"
    for share in counted.nodes:
        yield (f"        From {share.name}: {share.rows} rows, {share.bytes} bytes, {share.micros / 1000:.3f} ms there")


def _name(request: ScanRequest, key: int | str) -> str:
    return key if isinstance(key, str) else request.series.by_number[key].name


def _bound(request: ScanRequest, bound: FieldBound) -> str:
    low, high = bound.low, bound.high
    name = request.series.by_number[bound.column].name
    return f"{'' if low is None else f'{low} <= '}{name}{'' if high is None else f' <= {high}'}"


def _newest(request: ScanRequest, newest: Newest) -> str:
    """Which rows are asked for: Newest first: 1 row of each hostname."""
    rows = f"{newest.rows} row{'' if newest.rows == 1 else 's'}"
    tags = ", ".join(request.series.by_number[number].name for number in newest.by)
    return f"{'Oldest' if newest.oldest else 'Newest'} first: {rows}{f' of each {tags}' if tags else ''}"


def _spans(spans: Spans) -> str:
    """The parts of a continuous view that a scan reads."""
    shown = [_range_text(TimeRange(low, high)) for low, high in spans[:SPANS_SHOWN]]
    more = f" and {len(spans) - SPANS_SHOWN} more" if len(spans) > SPANS_SHOWN else ""
    return (", ".join(shown) or "nothing") + more


def _widening(widening: Widening) -> str:
    return f"{'Oldest' if widening.oldest else 'Newest'} first: wider parts of the range until LIMIT has its rows"


def _range(request: ScanRequest) -> str:
    return _range_text(request.range)


def _range_text(span: TimeRange) -> str:
    low, high = span.low, span.high
    if span.empty:
        return "nothing"
    if low == NS_MIN and high == NS_MAX:
        return "all"
    start = "" if low == NS_MIN else f"from {moment(low // 1000)}"
    end = "" if high == NS_MAX else f"before {moment(high // 1000)}"
    return f"{start} {end}".strip()
