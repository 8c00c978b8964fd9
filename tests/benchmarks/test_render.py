"""Line protocol, CSV and Parquet hold the same points as the arrays they were written from."""

from __future__ import annotations

import csv
import datetime as dt
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.render import CSV_COLUMNS, Batches, Dataset, render
from benchmarks.workload import FIELDS, TAGS, Workload, generate

BATCH = 100
Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return render(generate(7, 0.2, 11), tmp_path_factory.mktemp("out"), BATCH)


def expected_rows(workload: Workload) -> list[Row]:
    return [
        (time, *workload.tags[host], *workload.values[tick, host].tolist())
        for tick, time in enumerate(workload.times_ns.tolist())
        for host in range(workload.hosts)
    ]


def lines(batches: Batches) -> list[str]:
    return b"".join(batches[i] for i in range(len(batches))).decode().splitlines()


def nanoseconds(moment: dt.datetime) -> int:
    return round(moment.timestamp()) * 10**9


def test_line_protocol_holds_the_points(dataset: Dataset) -> None:
    rows = []
    for line in lines(dataset.line_protocol):
        tags, fields, time = line.split(" ")
        measurement, *pairs = tags.split(",")
        assert measurement == "cpu"
        assert [pair.split("=")[0] for pair in pairs] == list(TAGS)
        assert [pair.split("=")[0] for pair in fields.split(",")] == list(FIELDS)
        values = [int(value) for value in re.findall(r"=(\d+)i", fields)]
        rows.append((int(time), *(pair.split("=")[1] for pair in pairs), *values))
    assert rows == expected_rows(dataset.workload)


def test_csv_holds_the_points(dataset: Dataset) -> None:
    rows = []
    for cells in csv.reader(lines(dataset.csv)):
        row = dict(zip(CSV_COLUMNS, cells, strict=True))
        time = nanoseconds(dt.datetime.fromisoformat(row["time"]))
        rows.append((time, *(row[tag] for tag in TAGS), *(int(row[field]) for field in FIELDS)))
    assert rows == expected_rows(dataset.workload)


def test_parquet_holds_the_points(dataset: Dataset) -> None:
    rows = [
        (nanoseconds(row["time"]), *(row[name] for name in (*TAGS, *FIELDS)))
        for row in pq.read_table(dataset.parquet).to_pylist()
    ]
    assert rows == expected_rows(dataset.workload)


def test_every_batch_but_the_last_has_its_number_of_whole_lines(dataset: Dataset) -> None:
    for batches in (dataset.line_protocol, dataset.csv):
        counts = [bytes(batches[i]).count(b"\n") for i in range(len(batches))]
        assert counts[:-1] == [BATCH] * (len(counts) - 1)
        assert sum(counts) == dataset.workload.points
        assert all(bytes(batches[i]).endswith(b"\n") for i in range(len(batches)))


def test_files_that_are_there_are_used_again(tmp_path: Path) -> None:
    workload = generate(2, 0.1, 1)
    first = render(workload, tmp_path, BATCH)
    written = first.line_protocol.path.stat().st_mtime_ns
    again = render(workload, tmp_path, BATCH)
    assert again.line_protocol.path.stat().st_mtime_ns == written
    assert bytes(again.line_protocol[0]) == bytes(first.line_protocol[0])


def test_other_points_get_files_of_their_own(tmp_path: Path) -> None:
    one = render(generate(2, 0.1, 1), tmp_path, BATCH)
    other = render(generate(2, 0.1, 2), tmp_path, BATCH)
    assert one.line_protocol.path != other.line_protocol.path


@pytest.mark.parametrize("batch", [0, -1, 10**9])
def test_a_batch_size_out_of_bounds_is_refused(tmp_path: Path, batch: int) -> None:
    with pytest.raises(ValueError, match="must be between"):
        render(generate(2, 0.1, 1), tmp_path, batch)
