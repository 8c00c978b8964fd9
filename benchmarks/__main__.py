"""`python -m benchmarks`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.measure import Options, measure
from benchmarks.queries import BY_NAME
from benchmarks.render import render
from benchmarks.results import Results
from benchmarks.systems import SYSTEMS
from benchmarks.systems.tsdb import Tsdb
from benchmarks.tasks import TASKS
from benchmarks.workload import generate

HOME = Path(__file__).parent
OUT = HOME / "out"
WIDTH = 200  # of tables that go to a file or a pipe
SMALL = {"hosts": 100, "hours": 1.0, "runs": 1}
FULL = {"hosts": 1000, "hours": 12.0, "runs": 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 when all that was asked for was measured and all answers agree, 1 when not, 2 for wrong arguments."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in TASKS:
        return TASKS[words[0]](words[1:])
    parsed = _arguments(words)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    options = Options(
        runs=parsed.runs,
        load_runs=parsed.load_runs or 1,
        workers=parsed.workers,
        clients=parsed.clients,
        queries=parsed.queries,
        budget_seconds=parsed.budget,
        directory=parsed.directory,
    )
    with console.status("generating the points") as status:
        workload = generate(parsed.hosts, parsed.hours, parsed.seed)
        dataset = render(workload, OUT, parsed.batch)
        results = Results(machine.describe(), _describe(parsed, workload.points), _plain(asdict(options)))
        for name in parsed.systems:
            load_runs = parsed.load_runs or (parsed.runs if name == Tsdb.name else 1)
            here = replace(options, load_runs=load_runs)
            results.systems.append(measure(SYSTEMS[name](), dataset, here, status.update))
            _write_json(results, parsed.out)
    report.print_tables(results, console)
    console.print(f"Written to {parsed.out}", highlight=False)
    if parsed.markdown:
        report.put_main(HOME / "RESULTS.md", report.markdown(results))
    return 1 if results.failures else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"tsdb and its peers do the same work. Other tasks, with options of their own: {', '.join(TASKS)}.",
    )
    add = parser.add_argument
    add("--hosts", type=int, help="hosts that are measured (default 1000)")
    add("--hours", type=float, help="hours of one point each 10 s (default 12)")
    add("--seed", type=int, default=123, help="for the points and the queries' parameters (default %(default)s)")
    add("--small", action="store_true", help="100 hosts, 1 h, one run, unless said otherwise: to try it out")
    add("--systems", type=_names(SYSTEMS), default=tuple(SYSTEMS), help=f"of {','.join(SYSTEMS)} (default all)")
    add("--queries", type=_names(BY_NAME), default=tuple(BY_NAME), help=f"of {','.join(BY_NAME)} (default all)")
    add("--runs", type=_positive, help="timed runs of each query (default 3)")
    add("--load-runs", type=_positive, help="loads in each way (default: as --runs for tsdb, 1 for the peers)")
    add("--workers", type=_workers, default=(2,), help="connections that load, such as 1,2,4: one way each (default 2)")
    add("--batch", type=_positive, default=10_000, help="lines a request (default %(default)s)")
    add("--clients", type=_positive, default=1, help="also ask by so many clients at once (default 1: do not)")
    add("--budget", type=float, default=12.0, help="seconds for one query type on one system (default %(default)s)")
    add("--directory", type=Path, help="where servers keep their data (default: the temporary directory)")
    add("--out", type=Path, default=OUT / "results.json", help="the JSON (default %(default)s)")
    add("--markdown", action="store_true", help="also write benchmarks/RESULTS.md")
    parsed = parser.parse_args(arguments)
    for name, value in (SMALL if parsed.small else FULL).items():
        if getattr(parsed, name) is None:
            setattr(parsed, name, value)
    return parsed


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value


def _workers(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


class _names:
    """A comma-separated choice of known names."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(part.strip() for part in text.split(","))
        if unknown := [name for name in names if name not in self._known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} unknown; known are {', '.join(self._known)}")
        return names


def _describe(parsed: argparse.Namespace, points: int) -> dict[str, object]:
    return {name: getattr(parsed, name) for name in ("hosts", "hours", "seed", "batch")} | {"points": points}


def _plain(options: dict[str, object]) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}


def _write_json(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_json(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    sys.exit(main())
