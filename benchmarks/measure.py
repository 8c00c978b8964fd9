"""One system measured: loads, space, queries with their answers compared, the fetch, several clients at once.

Order of work: every way of loading as often as asked, each time into a fresh directory; the last load stays. Then
settle, read the space on disk, and run the queries: first every variant in every way (warming up, and comparing each
answer with `truth`), then the timed runs in the way that was fastest. A query type that takes longer than its budget
gets fewer variants, and at last a single run. As with `timeit`, Python's garbage collector does not run inside what is
timed.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import answers, truth
from benchmarks.load import first_line
from benchmarks.processes import MemoryWatch
from benchmarks.queries import BY_NAME, Kind, Query, draw
from benchmarks.render import Dataset
from benchmarks.results import Concurrent, Fetch, Load, SystemResult, Timing
from benchmarks.systems import Client, LoadWay, System
from benchmarks.workload import FIELDS

WARM_UP_ROUNDS = 2
CONCURRENT_SECONDS = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured. ``budget_seconds`` is for the timed runs of one query type on one system."""

    runs: int
    load_runs: int
    workers: tuple[int, ...]
    clients: int
    queries: tuple[str, ...]
    budget_seconds: float
    directory: Path | None = None  # where servers keep their data; None is the system's temporary directory


def measure(system: System, dataset: Dataset, options: Options, say: Say) -> SystemResult:
    """All numbers of one system. Errors end its measurement and are told in the result."""
    result = SystemResult(system.name)
    if reason := system.missing():
        result.state, result.reason = "not installed", reason
        return result
    result.version = system.version()
    gc.freeze()  # what is there now needs no look at by the collections between timed runs
    try:
        with _loaded(system, dataset, options, result, say):
            _measure_space(system, dataset, result, say)
            with _watched(system.pid(), since_start=False) as watch:
                _measure_queries(system, dataset, options, result, say)
            result.memory_of_queries_bytes = watch.peak_bytes if watch else None
    except Exception as error:  # one system's failure must not cost the others' numbers
        result.state, result.reason = "failed", f"{type(error).__name__}: {first_line(error)}"
    finally:
        gc.unfreeze()
    result.notes = list(system.notes)
    return result


@contextmanager
def _loaded(system: System, dataset: Dataset, options: Options, result: SystemResult, say: Say) -> Iterator[None]:
    """Load in every way, as often as asked; inside the context the last load is there."""
    ways = [way for way in system.load_ways(options.workers) for _ in range(options.load_runs)]
    for way in ways[:-1]:
        with _started(system, options):
            _measure_load(system, dataset, way, result, say)
    with _started(system, options):
        _measure_load(system, dataset, ways[-1], result, say)
        yield


@contextmanager
def _started(system: System, options: Options) -> Iterator[None]:
    directory = Path(tempfile.mkdtemp(prefix=f"benchmark-{system.name}-", dir=options.directory))
    try:
        system.start(directory)
        yield
    finally:
        system.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _measure_load(system: System, dataset: Dataset, way: LoadWay, result: SystemResult, say: Say) -> None:
    say(f"{system.name}: loading, {way}")
    with _watched(system.pid(), since_start=True) as watch:
        seconds = system.load(dataset, way)
    found = next((load for load in result.loads if load.way == str(way)), None)
    if found is None:
        found = Load(str(way))
        result.loads.append(found)
    found.seconds.append(seconds)
    found.rows_per_second.append(dataset.workload.points / seconds)
    if watch is not None:
        found.memory_bytes = max(found.memory_bytes or 0, watch.peak_bytes)


def _watched(pid: int | None, *, since_start: bool) -> AbstractContextManager[MemoryWatch | None]:
    return nullcontext() if pid is None else MemoryWatch(pid, since_start=since_start)


def _measure_space(system: System, dataset: Dataset, result: SystemResult, say: Say) -> None:
    say(f"{system.name}: settling")
    begin = time.perf_counter()
    system.settle()
    result.settle_seconds = time.perf_counter() - begin
    result.disk_bytes = system.disk_bytes()
    result.bytes_per_value = result.disk_bytes / (dataset.workload.points * len(FIELDS))


def _measure_queries(system: System, dataset: Dataset, options: Options, result: SystemResult, say: Say) -> None:
    client = system.connect()
    try:
        for name in options.queries:
            query_type = BY_NAME[name]
            queries = draw(query_type, dataset.workload)
            if reason := system.not_comparable(queries[0]):
                result.not_comparable[name] = reason
                continue
            say(f"{system.name}: {name}")
            if query_type.kind is Kind.FETCH:
                _measure_fetch(system, client, queries[0], dataset, options, result)
                continue
            try:
                timing = _measure_type(system, client, queries, dataset, options, result)
                result.queries[name] = timing
                if options.clients > 1:
                    chosen = queries[: timing.variants]
                    result.concurrent[name] = _ask_at_once(system, chosen, timing.way, options.clients)
            except Exception as error:  # the other types are still worth measuring
                result.differences.append(f"{name}: {type(error).__name__}: {first_line(error)}")
                client.close()
                client = system.connect()
    finally:
        client.close()


def _measure_type(
    system: System,
    client: Client,
    queries: list[Query],
    dataset: Dataset,
    options: Options,
    result: SystemResult,
) -> Timing:
    way, seconds, rows = _warm_up(system, client, queries, dataset, options, result)
    affordable = int(options.budget_seconds / (seconds * options.runs))
    chosen = queries[: max(1, min(len(queries), affordable))]
    runs = options.runs if seconds * options.runs <= 2 * options.budget_seconds else 1
    timing = Timing(way, rows, len(chosen))
    compiled = [client.compile(query, way) for query in chosen]
    for _ in range(runs):
        latencies = _latencies_ms(compiled)
        timing.runs_ms.append(statistics.median(latencies))
        timing.slowest_ms = max(timing.slowest_ms, *latencies)
    receiving = [run for run in map(client.receiving, chosen) if run is not None]
    if receiving:
        timing.received_ms = [statistics.median(_latencies_ms(receiving)) for _ in range(runs)]
    return timing


def _latencies_ms(runs: Sequence[Callable[[], Any]]) -> list[float]:
    """Each run's milliseconds, one after the other without a pause, as one client that is busy asks.

    A collection between two runs would leave a server idle for a millisecond, and what it measures would be the
    waking of a core: the shorter the query, the more of it.
    """
    latencies = []
    with _uncollected():
        for run in runs:
            begin = time.perf_counter()
            run()
            latencies.append((time.perf_counter() - begin) * 1000)
    return latencies


def _warm_up(
    system: System, client: Client, queries: list[Query], dataset: Dataset, options: Options, result: SystemResult
) -> tuple[str, float, int]:
    """Run each variant in each way and compare; gives the fastest way, its seconds a query, and an answer's rows."""
    ways = client.ways(queries[0])
    latencies: dict[str, float] = {}
    rows = 0
    begin = time.perf_counter()
    for number in range(WARM_UP_ROUNDS):
        for way in ways:
            taken = []
            for i, query in enumerate(queries):
                seconds, got = _timed(client.compile(query, way))
                taken.append(seconds)
                if number == 0:
                    counted = _compare(system, client, query, way, got, dataset, result)
                    rows = counted if i == 0 and counted is not None else rows
                if time.perf_counter() - begin > options.budget_seconds:
                    break
            latencies[way] = statistics.median(taken)
        if time.perf_counter() - begin > options.budget_seconds / 4:
            break  # the second round tells apart the ways of quick queries, whose first is cold
    fastest = min(latencies, key=lambda way: latencies[way])
    return fastest, latencies[fastest], rows


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    with _uncollected():
        begin = time.perf_counter()
        got = run()
        return time.perf_counter() - begin, got


@contextmanager
def _uncollected() -> Iterator[None]:
    """Garbage is collected before, and not inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _compare(
    system: System, client: Client, query: Query, way: str, got: Any, dataset: Dataset, result: SystemResult
) -> int | None:
    """Compare with the truth and note a difference; gives the answer's rows, None where nothing was decoded."""
    actual = client.answer(query, way, got)
    if actual is None:
        return None
    expected = system.comparable(query, truth.answer(query, dataset.workload))
    ordered = system.keeps_order(query)
    if difference := answers.difference(expected, system.comparable(query, actual), ordered=ordered):
        result.differences.append(f"{query.type} ({way}, {query.start_ns}..{query.end_ns}): {difference}")
    return answers.rows_of(actual)


def _measure_fetch(
    system: System, client: Client, query: Query, dataset: Dataset, options: Options, result: SystemResult
) -> None:
    rows = 0
    for way in client.ways(query):
        _, got = _timed(client.compile(query, way))
        rows = _compare(system, client, query, way, got, dataset, result) or rows
        del got
        fetch = Fetch(rows)
        for _ in range(options.runs):
            fetch.rows_per_second.append(rows / _timed(client.compile(query, way))[0])
        result.fetch[way] = fetch


def _ask_at_once(system: System, queries: list[Query], way: str, clients: int) -> Concurrent:
    """Several clients, each with a thread and a connection of its own, ask the variants in turn for a while."""
    latencies: list[float] = []
    errors: list[BaseException] = []
    start = threading.Barrier(clients + 1)
    end = [0.0]

    def ask(number: int) -> None:
        try:
            client = system.connect()
            compiled = [client.compile(query, way) for query in queries]
            compiled[0]()
            start.wait()
            turn = number
            while time.perf_counter() < end[0]:
                begin = time.perf_counter()
                compiled[turn % len(compiled)]()
                latencies.append(time.perf_counter() - begin)
                turn += 1
            client.close()
        except BaseException as error:
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    end[0] = float("inf")
    try:
        start.wait()
    except threading.BrokenBarrierError:
        for thread in threads:
            thread.join()
        raise errors[0] from None
    begin = time.perf_counter()
    end[0] = begin + CONCURRENT_SECONDS
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    elapsed = time.perf_counter() - begin
    return Concurrent(clients, len(latencies) / elapsed, statistics.median(latencies) * 1000)
