"""What holds for the whole tree: sizes, words, calls and names that must not be there."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(
    path
    for folder in ("tsdb", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if "out" not in path.parts
)
OURS = [path for path in FILES if path.is_relative_to(ROOT / "tsdb")]

LINES_OF_A_FILE_MAX = 600
LINES_OF_A_FUNCTION_MAX = 70
NOUNS_THAT_SAY_NOTHING = re.compile(r"(Manager|Helper|Handler|Service|Utils?|Common|Base)$|^(Manager|Helper|Base)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_no_file_is_beyond_600_lines() -> None:
    long = {name(path): n for path in FILES if (n := path.read_text().count("\n")) > LINES_OF_A_FILE_MAX}
    assert long == {}


def test_no_function_is_beyond_70_lines() -> None:
    long = {
        f"{name(path)}:{function.lineno} {function.name}": function.end_lineno - function.lineno + 1
        for path in OURS
        for function in functions(path)
        if function.end_lineno is not None and function.end_lineno - function.lineno + 1 > LINES_OF_A_FUNCTION_MAX
    }
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(p) for p in FILES if p.read_text().strip() and ast.get_docstring(ast.parse(p.read_text())) is None]
    assert silent == []


def test_every_package_teaches_itself() -> None:
    short = [
        name(p) for p in OURS if p.name == "__init__.py" and len(ast.get_docstring(ast.parse(p.read_text())) or "") < 80
    ]
    assert short == []


def test_nothing_is_left_for_later() -> None:
    left = re.compile(r"\b(TODO|FIXME|XXX(?!\d)|NotImplementedError)\b")
    here = Path(__file__)
    assert [name(path) for path in FILES if path != here and left.search(path.read_text())] == []


def test_no_name_says_nothing() -> None:
    found = [
        f"{name(path)}: {node.name}"
        for path in OURS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and NOUNS_THAT_SAY_NOTHING.search(node.name)
    ]
    assert found == []
    assert [name(p) for p in OURS if p.stem in ("utils", "util", "common", "base", "helpers", "helper", "misc")] == []


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_nothing_is_unpickled(module: str) -> None:
    imports = re.compile(rf"^\s*(import|from)\s+{module}\b", re.MULTILINE)
    assert [name(path) for path in OURS if imports.search(path.read_text())] == []


def test_the_lock_pins_every_requirement_by_hash_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "//" not in lock
    assert "index" not in lock
    pinned = {match[1].lower().replace("_", "-") for match in re.finditer(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)}
    assert lock.count("==") == len(pinned)
    for block in re.split(r"\n(?=[a-z])", lock):
        if "==" in block:
            assert "--hash=sha256:" in block, block.splitlines()[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names - pinned == set()


def test_every_requirement_has_a_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dated = ("tzdata>=2025.2",)
    assert [r for r in project["dependencies"] if (">=" not in r or "<" not in r) and r not in dated] == []


def test_every_part_has_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = set(re.findall(r"tsdb\.(\w+)", " ".join(contracts[0]["layers"])))
    there = {path.stem for path in (ROOT / "tsdb").glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in (ROOT / "tsdb").glob("*/__init__.py")}
    assert there == named
