"""The tasks' own pieces: shifted times, and the sections of RESULTS.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import put_main, put_section
from benchmarks.tasks import transport
from benchmarks.tasks.ingest import Regrouped, new_tagsets
from benchmarks.tasks.stream import shifted
from benchmarks.tasks.values import KINDS, _render
from benchmarks.workload import FIELDS, generate


def test_a_shift_changes_the_times_and_nothing_else() -> None:
    lines = b"cpu,h=a u=1i 1451606400000000000\ncpu,h=b1 u=22i,v=3i 1451606409999999999\n"
    moved = bytes(shifted(memoryview(lines), 10**9 + 1))
    assert moved == b"cpu,h=a u=1i 1451606401000000001\ncpu,h=b1 u=22i,v=3i 1451606411000000000\n"
    assert bytes(shifted(memoryview(lines), 0)) == lines


def test_sections_are_replaced_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    put_main(path, "# Results\n\nfirst")
    put_section(path, "scale", "ten")
    put_section(path, "fetch", "million")
    put_section(path, "scale", "hundred")
    put_main(path, "# Results\n\nsecond")
    put_main(path, "# Results\n\nthird")
    expected = "# Results\n\nthird\n\n## Task: fetch\n\nmillion\n\n## Task: scale\n\nhundred\n"
    assert path.read_text(encoding="utf-8") == expected


def test_values_are_written_in_each_form(tmp_path: Path) -> None:
    workload = generate(3, 0.05, 5)
    for kind, form in KINDS.items():
        batches = _render(workload, form, tmp_path / kind)
        lines = b"".join(batches[i] for i in range(len(batches))).decode().splitlines()
        assert len(lines) == workload.points
        values = [pair.split("=")[1] for line in lines for pair in line.split(" ")[1].split(",")]
        assert len(values) == workload.points * len(FIELDS)
        assert all(value.endswith("i") == (kind == "integers") for value in values)
        if kind == "two decimals":
            assert {len(value.split(".")[1]) for value in values} == {2}


def test_lines_are_put_into_batches_of_another_size() -> None:
    batches = [memoryview(b"a\nb\nc\n"), memoryview(b"d\ne\n")]
    for size, expected in ((1, 5), (2, 3), (3, 2), (5, 1), (9, 1)):
        regrouped = Regrouped(batches, size)
        assert len(regrouped) == expected
        assert b"".join(regrouped[i] for i in range(len(regrouped))) == b"a\nb\nc\nd\ne\n"
        assert all(bytes(regrouped[i]).count(b"\n") == size for i in range(len(regrouped) - 1))


def test_every_new_tag_set_is_new() -> None:
    keys = [line.split(b" ")[0] for batch in new_tagsets(20_001) for line in bytes(batch).splitlines()]
    assert len(keys) == len(set(keys)) == 20_001


def test_frames_and_flight_bring_all_rows_of_a_fragment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.tasks.task.OUT", tmp_path)
    assert transport.main(["--rows", "40000", "--calls", "30", "--runs", "1"]) == 0
    (grid,) = json.loads((tmp_path / "transport.json").read_text())["tables"]
    ways = [row[0] for row in grid["rows"]]
    assert ways == ["Arrow Flight", "frames"]
    assert all(len(row) == len(grid["header"]) for row in grid["rows"])
