"""Scripts of whole nodes, of quorums and of changes of members: ours, and a folder of etcd-io/raft's public ones.

``pytest tests/test_raft_scripts.py --raft-scripts DIR`` runs every file below DIR; a file belongs to the quorums or to
changes of members if its folder is called so. Log lines are left out, since our events have other words; everything
else is compared to the character. ``--rewrite-raft-scripts`` puts what our own scripts give now in place of what
they expect: read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft.environment import Environment
from tests.raft.quorums import Changes, Quorums
from tests.raft.script import parse, rewritten

OURS = Path(__file__).parent / "raft" / "scripts"
PUBLIC = Path(__file__).parent.parent.parent / "shared" / "raft"
LEVELS = ("DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL ")


def spoken(text: str) -> str:
    """An output without log lines; a command that says nothing says ok."""
    lines = [line.rstrip() for line in text.split("\n") if not line.strip().startswith(LEVELS)]
    return "\n".join(lines).strip("\n") or "ok"


def runner_of(path: Path) -> Environment | Quorums | Changes:
    folder = path.parent.name
    if folder == "quorum" or path.stem.startswith(("joint_", "majority_")):
        return Quorums()
    return Changes() if folder == "confchange" else Environment()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "public" in metafunc.fixturenames:
        folder = Path(metafunc.config.getoption("--raft-scripts") or PUBLIC)
        files = sorted(path for path in folder.rglob("*.txt"))
        metafunc.parametrize("public", files, ids=[str(path.relative_to(folder)) for path in files])


def run(path: Path, compare: bool = True) -> dict[int, str]:
    """The output of each command, by its line."""
    runner = runner_of(path)
    outputs: dict[int, str] = {}
    for command in parse(path):
        outputs[command.number] = runner.run(command)
        where = f"{path.name}:{command.number}: {command.line}"
        if compare:
            assert spoken(outputs[command.number]) == spoken(command.expected), where
    return outputs


def test_public_scripts(public: Path) -> None:
    run(public)


@pytest.mark.parametrize("name", sorted(path.stem for path in OURS.glob("*.txt")))
def test_our_scripts(name: str, request: pytest.FixtureRequest) -> None:
    path = OURS / f"{name}.txt"
    rewrite = bool(request.config.getoption("--rewrite-raft-scripts"))
    outputs = run(path, compare=not rewrite)
    if rewrite:
        path.write_text(rewritten(path, outputs))
