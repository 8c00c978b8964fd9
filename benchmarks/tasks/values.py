"""Bytes a value on disk of float fields, of two decimals and with noise in every digit, beside the peers that take line
protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.load import first_line
from benchmarks.render import Batches, Dataset
from benchmarks.report import Grid, number
from benchmarks.systems import SYSTEMS, System
from benchmarks.tasks.task import MIB, OUT, parser, publish, running, say
from benchmarks.workload import FIELDS, SERIES, Workload, generate

NAMES = ("tsdb", "influxdb", "victoriametrics")
HOSTS, HOURS, BATCH = 100, 12.0, 5_000
KINDS = {
    "integers": "{:d}i",
    "two decimals": "{:.2f}",
    "full precision": "{!r}",
}


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    parsed = parser("values", __doc__ or "").parse_args(arguments)
    workload = generate(HOSTS, HOURS, 123)
    cells: dict[str, list[str]] = {kind: [] for kind in KINDS}
    names = [name for name in NAMES if SYSTEMS[name]().missing() is None]
    for kind, form in KINDS.items():
        lines = _render(workload, form, OUT / f"values-{kind.replace(' ', '-')}.lp")
        for name in names:
            say(f"{name}: {kind}")
            with running(SYSTEMS[name](), parsed.directory) as system:
                cells[kind].append(_measure(system, workload, lines))
    rows = [(kind, *found) for kind, found in cells.items()]
    title = f"Bytes a value (MiB) of {workload.points:,} points × {len(FIELDS)} fields, settled"
    remark = "Random walks as in the cpu workload: cut to integers, rounded to two decimals, or with all their digits."
    return publish("values", [Grid(title, ("values", *names), rows)], remark, parsed.markdown)


def _render(workload: Workload, form: str, path: Path) -> Batches:
    rng = np.random.default_rng(workload.seed)
    state = rng.uniform(0.0, 100.0, (workload.hosts, len(FIELDS)))
    heads = [f"{SERIES},hostname={tags[0]},region={tags[1]} " for tags in workload.tags]
    line = ",".join(f"{name}={form}" for name in FIELDS)
    lines: list[str] = []
    for time_ns in workload.times_ns:
        values = state.astype(np.int64).tolist() if form.endswith("i") else state.tolist()
        lines += [f"{head}{line.format(*row)} {time_ns}\n" for head, row in zip(heads, values, strict=True)]
        state = np.clip(state + rng.standard_normal(state.shape), 0.0, 100.0)
    batches = ["".join(lines[i : i + BATCH]).encode() for i in range(0, len(lines), BATCH)]
    OUT.mkdir(exist_ok=True)
    path.write_bytes(b"".join(batches))
    return Batches(path, np.cumsum([0, *map(len, batches)], dtype=np.int64))


def _measure(system: System, workload: Workload, lines: Batches) -> str:
    dataset = Dataset(workload, lines, lines, Path())
    try:
        system.load(dataset, next(way for way in system.load_ways((2,)) if way.name == "line protocol"))
        system.settle()
        size = system.disk_bytes()
    except Exception as error:  # one system's failure must not cost the others' numbers
        return first_line(error)
    return f"{size / workload.points / len(FIELDS):.3f} ({number(size / MIB)})"
