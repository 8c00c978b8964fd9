"""What tasks share: arguments, a server in a temporary directory, timing, and where the numbers go."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.report import Grid, markdown_table, put_section
from benchmarks.systems import System

HOME = Path(__file__).parent.parent
OUT = HOME / "out"
MIB = 1 << 20
WIDTH = 160


def parser(name: str, what: str) -> argparse.ArgumentParser:
    """The options that every task has."""
    parsed = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=what)
    parsed.add_argument("--directory", type=Path, help="where servers keep their data (default: temporary)")
    parsed.add_argument("--markdown", action="store_true", help="also replace this task's section of RESULTS.md")
    return parsed


@contextmanager
def running(system: System, directory: Path | None) -> Iterator[System]:
    """Start a system without points in a directory of its own; both are gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"benchmark-{system.name}-", dir=directory))
    try:
        system.start(home)
        yield system
    finally:
        system.stop()
        shutil.rmtree(home, ignore_errors=True)


def milliseconds(run: Callable[[], Any]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    run()
    return (time.perf_counter() - begin) * 1000


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median_ms(run: Callable[[], Any], times: int) -> float:
    """The median of several calls, after one that warms up."""
    run()
    return statistics.median(milliseconds(run) for _ in range(times))


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"· {text}", file=sys.stderr, flush=True)


def publish(name: str, grids: Sequence[Grid], remark: str, markdown: bool) -> int:
    """Print, write the JSON, and the section of RESULTS.md when asked; gives 0."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    for grid in grids:
        table = Table(title=grid.title, title_justify="left", title_style="bold")
        for i, column in enumerate(grid.header):
            table.add_column(column, justify="left" if i == 0 else "right")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    found = machine.describe()
    OUT.mkdir(exist_ok=True)
    numbers = {"task": name, "machine": found, "remark": remark, "tables": [asdict(grid) for grid in grids]}
    (OUT / f"{name}.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    if markdown:
        where = (
            f"`python -m benchmarks {name}` on {time.strftime('%Y-%m-%d')}, {found['cores']} cores of {found['cpu']}. "
        )
        text = "\n\n".join([where + remark, *(markdown_table(grid, level=3) for grid in grids)])
        put_section(HOME / "RESULTS.md", name, text)
    return 0
