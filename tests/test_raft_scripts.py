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
    if folder == "confchange":
        return Changes()
    # Changes of members have files called joint_… as well.
    return Quorums() if folder == "quorum" or path.stem.startswith(("joint_", "majority_")) else Environment()


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


def test_the_folder_says_whose_commands_a_file_has() -> None:
    assert isinstance(runner_of(Path("confchange/joint_safety.txt")), Changes)
    assert isinstance(runner_of(Path("quorum/joint_commit.txt")), Quorums)
    assert isinstance(runner_of(Path("elsewhere/majority_vote.txt")), Quorums)
    assert isinstance(runner_of(Path("interaction/campaign.txt")), Environment)


def test_lines_below_a_command_are_commands_and_what_is_said_in_silence_is_not_said_later(tmp_path: Path) -> None:
    path = tmp_path / "several.txt"
    path.write_text(
        "log-level none\nadd-nodes 3 voters=(1,2,3) index=2\ncampaign 1\nstabilize\n----\nok\n\n"
        "log-level debug\nraft-state\n----\n1: StateLeader (Voter) Term:1 Lead:1\n"
        "2: StateFollower (Voter) Term:1 Lead:1\n3: StateFollower (Voter) Term:1 Lead:1\n"
    )
    run(path)


def test_a_majority_of_nobody_beside_another_is_a_joint_one(tmp_path: Path) -> None:
    (tmp_path / "quorum").mkdir()
    path = tmp_path / "quorum" / "joint_commit.txt"
    path.write_text(
        "committed cfg=(1,2,3) cfgj=zero idx=(100,101,99)\n----\n       idx\nx>     100    (id=1)\n"
        "xx>    101    (id=2)\n>       99    (id=3)\n100\n\n"
        "committed cfg=(1,2) cfgj=(2,3) idx=(_,100, 99)\n----\n       idx\n?        0    (id=1)\n"
        "xx>    100    (id=2)\nx>      99    (id=3)\n0\n"
    )
    run(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in OURS.glob("*.txt")))
def test_our_scripts(name: str, request: pytest.FixtureRequest) -> None:
    path = OURS / f"{name}.txt"
    rewrite = bool(request.config.getoption("--rewrite-raft-scripts"))
    outputs = run(path, compare=not rewrite)
    if rewrite:
        path.write_text(rewritten(path, outputs))


def test_a_log_without_entries_says_so_and_a_body_with_quotes_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text(
        "log-level none\n----\nok\n\nadd-nodes 1 voters=(1) index=5\n----\nok\n\nlog-level debug\n----\nok\n\n"
        "raft-log 1\n----\nlog is empty: first index=6, last index=5\n\n"
        'log-level none\ncampaign 1\nstabilize\npropose 1 "foo"\nstabilize\n----\nok\n\nlog-level debug\n----\nok\n\n'
        'raft-log 1\n----\n1/6 EntryNormal ""\n1/7 EntryNormal "\\"foo\\""\n'
    )
    run(path)
