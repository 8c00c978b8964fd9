"""The whole way with DuckDB alone: load, space, queries, comparison, report; and what makes a run fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as program
from benchmarks import report
from benchmarks.measure import Options, measure
from benchmarks.queries import BY_NAME, Query
from benchmarks.render import Dataset, render
from benchmarks.results import Load, Results, SystemResult, Timing
from benchmarks.systems.duckdb import DuckDb, DuckDbClient
from benchmarks.workload import generate

OPTIONS = Options(1, 1, (1,), 1, ("single-groupby-1-1-1", "lastpoint", "fetch"), budget_seconds=2.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return render(generate(10, 1, 3), tmp_path_factory.mktemp("out"), 1000)


def quiet(_: str) -> None:
    pass


class WrongClient(DuckDbClient):
    """Gives every answer with one row too few."""

    def compile(self, query: Query, way: str) -> Callable[[], Any]:
        run = super().compile(query, way)
        return lambda: run().slice(1)


class WrongDuckDb(DuckDb):
    """A system that answers wrongly."""

    def connect(self) -> WrongClient:
        return WrongClient(super().connect()._cursor)


class AbsentDuckDb(DuckDb):
    """A system that is not installed."""

    def missing(self) -> str | None:
        return "not installed: no such program"


class BrokenDuckDb(DuckDb):
    """A system that does not get to its first query."""

    def connect(self) -> DuckDbClient:
        raise OSError("no more connections")


def test_the_whole_run_with_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "OUT", tmp_path / "out")
    out = tmp_path / "results.json"
    arguments = ["--hosts", "10", "--hours", "1", "--runs", "1", "--systems", "duckdb", "--budget", "5"]
    assert program.main([*arguments, "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    (system,) = document["systems"]
    assert system["state"] == "measured"
    assert system["differences"] == []
    assert set(system["queries"]) == set(BY_NAME) - {"fetch"}
    assert system["queries"]["double-groupby-all"]["rows"] in (10, 20)
    assert system["queries"]["lastpoint"]["rows"] == 10
    assert system["fetch"]["arrow"]["rows"] == 3600
    assert system["disk_bytes"] > 0
    assert document["workload"]["points"] == 3600
    assert document["machine"]["cores"] >= 1


def test_a_wrong_answer_makes_the_run_fail(dataset: Dataset) -> None:
    result = measure(WrongDuckDb(), dataset, OPTIONS, quiet)
    assert result.state == "measured"
    assert any(text.startswith("single-groupby-1-1-1") for text in result.differences)
    assert any(text.startswith("lastpoint") and "9 rows, expected 10" in text for text in result.differences)
    assert any(text.startswith("fetch") for text in result.differences)
    assert len(Results({}, {}, {}, [result]).failures) == len(result.differences)


def test_a_system_that_is_not_installed_is_left_out_without_failing(dataset: Dataset) -> None:
    result = measure(AbsentDuckDb(), dataset, OPTIONS, quiet)
    assert result.state == "not installed"
    assert Results({}, {}, {}, [result]).failures == []
    assert report.remarks(Results({}, {}, {}, [result])) == ["DuckDB: not installed: no such program."]


def test_a_system_that_breaks_fails_the_run_and_keeps_what_was_measured(dataset: Dataset) -> None:
    result = measure(BrokenDuckDb(), dataset, OPTIONS, quiet)
    assert result.state == "failed"
    assert "no more connections" in result.reason
    assert [load.way for load in result.loads] == ["csv ×1", "parquet ×1"]
    assert len(Results({}, {}, {}, [result]).failures) == 1


def test_several_clients_ask_at_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measure.CONCURRENT_SECONDS", 0.2)
    result = measure(DuckDb(), dataset, replace(OPTIONS, clients=2), quiet)
    assert result.state == "measured", result.reason
    assert result.concurrent["lastpoint"].clients == 2
    assert result.concurrent["lastpoint"].queries_per_second > 0


def test_the_markdown_says_which_targets_are_met() -> None:
    machine = {"cores": 2, "cpu": "some", "memory_bytes": 2**34, "kernel": "6", "python": "3.11"}
    workload: dict[str, object] = {"hosts": 1, "hours": 1, "points": 360, "batch": 10, "seed": 1}
    tsdb = SystemResult("tsdb", bytes_per_value=0.4, disk_bytes=10**6)
    tsdb.loads.append(Load("line protocol ×2", [1.0, 2.0], [400_000.0, 200_000.0], 2**29))
    tsdb.queries["double-groupby-1"] = Timing("prepared", 10, 3, [210.0, 190.0, 230.0], [14.0, 13.0, 19.0])
    text = report.markdown(Results(machine, workload, {"queries": ["double-groupby-1", "fetch"]}, [tsdb]))
    assert "| bytes a value after settling | ≤ 0.42 | 0.40 |  | yes |" in text
    assert "| double-groupby-1, ms | ≤ 15.0 | 210 | 14.0 | no |" in text
    assert "| single-groupby-1-1-1, ms | ≤ 1.50 | – |  | – |" in text
    assert "| memory while loading, MiB | < 1,024 | 512 |  | yes |" in text
    assert "| double-groupby-1 | 210 (190–230) prepared |" in text
    assert "| double-groupby-1 | 14.0 (13.0–19.0) |" in text


@pytest.mark.parametrize(
    "arguments", [["--systems", "oracle"], ["--queries", "nope"], ["--runs", "0"], ["--workers", "x"]]
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
