"""A run's results as tables: on the terminal, and as Markdown with the targets beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.results import Results, SystemResult, median

MIB = 1024 * 1024
_TASK = "## Task: "
NAMES = {
    "tsdb": "tsdb",
    "duckdb": "DuckDB",
    "postgres": "PostgreSQL",
    "influxdb": "InfluxDB",
    "victoriametrics": "VictoriaMetrics",
}
TARGETS_MS = {
    "single-groupby-1-1-1": 1.5,
    "single-groupby-1-1-12": 2,
    "single-groupby-5-8-1": 2.5,
    "cpu-max-all-8": 3,
    "double-groupby-1": 15,
    "double-groupby-5": 30,
    "double-groupby-all": 45,
    "high-cpu-1": 3,
    "high-cpu-all": 300,
    "lastpoint": 3,
    "groupby-orderby-limit": 3,
}


@dataclass(frozen=True, slots=True)
class Grid:
    """One table as texts."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if math.isnan(value):
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_spread(runs: Sequence[float]) -> str:
    """The median of the runs, and the least and the most where there are several."""
    if len(runs) < 2:
        return number(median(runs))
    return f"{number(median(runs))} ({number(min(runs))}–{number(max(runs))})"


def grids(results: Results) -> list[Grid]:
    """The run's tables."""
    measured = [system for system in results.systems if system.state != "not installed"]
    tables = [
        _queries(results, measured),
        _received(results, measured),
        _loads(measured),
        _space(measured),
        _fetches(measured),
    ]
    return [table for table in (*tables, _concurrent(measured)) if table.rows]


def _queries(results: Results, systems: list[SystemResult]) -> Grid:
    names = [name for name in _strings(results.options["queries"]) if name != "fetch"]
    rows = []
    for name in names:
        cells = []
        for system in systems:
            timing = system.queries.get(name)
            if timing:
                way = f" {timing.way}" if timing.way in ("simple", "prepared", "binary") else ""
                cells.append(with_spread(timing.runs_ms) + way)
            else:
                cells.append("not comparable" if name in system.not_comparable else "–")
        rows.append((name, *cells))
    title = "Queries: ms with the whole result fetched, median over runs of the variants' median (least–most)"
    return Grid(title, ("query", *(NAMES[system.name] for system in systems)), rows)


def _received(results: Results, systems: list[SystemResult]) -> Grid:
    receiving = [system for system in systems if any(timing.received_ms for timing in system.queries.values())]
    rows = []
    for name in _strings(results.options["queries"]):
        found = [system.queries.get(name) for system in receiving]
        if any(found):
            rows.append((name, *(with_spread(timing.received_ms) if timing else "–" for timing in found)))
    title = (
        "The same until libpq holds the whole result, as a client in C has it: ms without the making of Python tuples"
    )
    return Grid(title, ("query", *(NAMES[system.name] for system in receiving)), rows)


def _loads(systems: list[SystemResult]) -> Grid:
    rows = [
        (
            NAMES[system.name],
            load.way,
            with_spread(load.rows_per_second),
            with_spread(load.seconds),
            number(load.memory_bytes / MIB) if load.memory_bytes else "in process",
        )
        for system in systems
        for load in system.loads
    ]
    return Grid("Load", ("system", "by", "rows/s", "s", "server's memory, MiB"), rows)


def _space(systems: list[SystemResult]) -> Grid:
    rows = [
        (
            f"{NAMES[system.name]} {system.version}",
            number(system.disk_bytes / MIB),
            f"{system.bytes_per_value:.3f}",
            number(system.settle_seconds),
            number(system.memory_of_queries_bytes / MIB) if system.memory_of_queries_bytes else "in process",
        )
        for system in systems
        if system.disk_bytes
    ]
    header = ("system", "MiB on disk", "bytes a value", "settled in, s", "memory at the queries, MiB")
    return Grid("Space", header, rows)


def _fetches(systems: list[SystemResult]) -> Grid:
    rows = [
        (NAMES[system.name], way, number(fetch.rows), with_spread(fetch.rows_per_second))
        for system in systems
        for way, fetch in system.fetch.items()
    ]
    return Grid("Fetch of a large result", ("system", "by", "rows", "rows/s"), rows)


def _concurrent(systems: list[SystemResult]) -> Grid:
    names = {name: None for system in systems for name in system.concurrent}
    rows = []
    for name in names:
        found = [system.concurrent.get(name) for system in systems]
        rows.append(
            (name, *(f"{number(c.queries_per_second)} ({number(c.median_ms)} ms)" if c else "–" for c in found))
        )
    clients = next((c.clients for system in systems for c in system.concurrent.values()), 0)
    header = ("query", *(NAMES[system.name] for system in systems))
    return Grid(f"Queries a second by {clients} clients at once (median latency)", header, rows)


def _strings(value: object) -> list[str]:
    assert isinstance(value, (list, tuple))
    return [str(item) for item in value]


def print_tables(results: Results, console: Console) -> None:
    """Print the tables, the notes and, loudly, what went wrong."""
    for grid in grids(results):
        table = Table(title=grid.title, title_justify="left", title_style="bold")
        for i, name in enumerate(grid.header):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for line in remarks(results):
        console.print(f"· {line}", markup=False, highlight=False)
    for failure in results.failures:
        console.print(f"FAILED  {failure}", style="bold red", markup=False, highlight=False)
    if not results.failures:
        console.print("All answers that can be compared agree.", style="green")


def remarks(results: Results) -> list[str]:
    """Notes on systems, what was not measured and why."""
    lines = []
    for system in results.systems:
        if system.state == "not installed":
            lines.append(f"{NAMES[system.name]}: {system.reason}.")
            continue
        lines += system.notes
        lines += [f"{NAMES[system.name]}, {name}: {reason}." for name, reason in system.not_comparable.items()]
    return lines


def markdown(results: Results) -> str:
    """The whole report as a Markdown document."""
    machine, workload = results.machine, results.workload
    memory = machine["memory_bytes"]
    assert isinstance(memory, int)
    parts = [
        "# Results",
        "Written by `python -m benchmarks --markdown`; `benchmarks/__init__.py` says what is measured and how.",
        f"Machine: {machine['cores']} cores of {machine['cpu']}, {memory / 2**30:.0f} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; servers and client together on it.",
        f"Workload: {workload['hosts']} hosts × {workload['hours']} h, {workload['points']:,} points × 10 fields, "
        f"batches of {workload['batch']:,}, seed {workload['seed']}.",
        markdown_table(targets(results)),
        *(markdown_table(grid) for grid in grids(results)),
        "\n".join(f"- {line}" for line in remarks(results)),
    ]
    if results.failures:
        parts.append("## Failures\n\n" + "\n".join(f"- {failure}" for failure in results.failures))
    else:
        parts.append("All answers that can be compared agree with those computed from the generated points.")
    return "\n\n".join(parts) + "\n"


def targets(results: Results) -> Grid:
    """tsdb's numbers beside what it is meant to reach (on two cores, 1,000 hosts × 12 h)."""
    tsdb = next((system for system in results.systems if system.name == "tsdb"), SystemResult("tsdb"))

    def load(way: str) -> float:
        return max((median(each.rows_per_second) for each in tsdb.loads if each.way.startswith(way)), default=math.nan)

    lines, copied = load("line protocol"), load("COPY")
    memory = max((load.memory_bytes or 0 for load in tsdb.loads), default=0)

    def latency(name: str) -> float:
        return median(tsdb.queries[name].runs_ms) if name in tsdb.queries else math.nan

    def received(what: str) -> str:
        timing = tsdb.queries.get(what.removesuffix(", ms"))
        return number(median(timing.received_ms)) if timing else ""

    found = [
        ("load over HTTP, rows/s", "≥ 300,000", lines, lines >= 300_000),
        ("load by COPY, rows/s", "≥ 300,000", copied, copied >= 300_000),
        ("bytes a value after settling", "≤ 0.42", tsdb.bytes_per_value or math.nan, 0 < tsdb.bytes_per_value <= 0.42),
        ("memory while loading, MiB", "< 1,024", memory / MIB or math.nan, 0 < memory < 1024 * MIB),
        *((f"{name}, ms", f"≤ {number(ms)}", latency(name), latency(name) <= ms) for name, ms in TARGETS_MS.items()),
    ]
    rows = [
        (what, target, number(value), received(what), "–" if math.isnan(value) else "yes" if met else "no")
        for what, target, value, met in found
    ]
    return Grid("Targets", ("tsdb", "target", "measured", "by libpq", "met"), rows)


def markdown_table(grid: Grid, level: int = 2) -> str:
    """A grid under a heading of its title."""
    lines = [grid.header, ("---",) + ("---:",) * (len(grid.header) - 1), *grid.rows]
    return f"{'#' * level} {grid.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_section(path: Path, name: str, text: str) -> None:
    """Replace the section of a task in RESULTS.md, or append it; whatever else is there stays."""
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    main, *sections = whole.split(_TASK)
    kept = {section.split("\n", 1)[0]: section for section in sections}
    kept[name] = f"{name}\n\n{text}\n\n"
    parts = [main.rstrip() + "\n\n" if main.strip() else "", *(_TASK + kept[key] for key in sorted(kept))]
    path.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")


def put_main(path: Path, text: str) -> None:
    """Replace what the cpu-only run wrote to RESULTS.md; the tasks' sections stay."""
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    _, *sections = whole.split(_TASK)
    path.write_text(
        "".join([text.rstrip() + "\n", *("\n" * (i == 0) + _TASK + s for i, s in enumerate(sections))]),
        encoding="utf-8",
    )
