"""``tsdb cluster`` and ``tsdb user`` with metadata in etcd: what they print, and what they refuse."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.etcd.nodes import OneNode, nodes
from tests.fixtures.etcd import Etcd
from tests.fixtures.waiting import until
from tsdb.cli.app import app
from tsdb.errors import ConfigurationError, StartupError

_prefixes = itertools.count()


class Commands:
    """The command line at one etcd and prefix."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __call__(self, *words: str, secret: str = "") -> list[str]:
        """The lines that a command prints; what refuses it is raised."""
        result = CliRunner().invoke(app, [*words, "--metadata", self.where], input=secret, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()


@pytest.fixture
def prefix() -> str:
    return f"commands{next(_prefixes)}"


@pytest.fixture
def tsdb(shared_etcd: Etcd, prefix: str) -> Commands:
    return Commands(f"etcd://{','.join(map(str, shared_etcd.address.endpoints))}/{prefix}")


@pytest.fixture
def two(shared_etcd: Etcd, prefix: str, tmp_path: Path) -> Iterator[list[OneNode]]:
    with nodes(shared_etcd, prefix, tmp_path, 2) as found:
        yield found


def test_nodes_are_shown_drained_taken_back_and_removed(tsdb: Commands, two: list[OneNode]) -> None:
    until(lambda: " decides; metadata at " in tsdb("cluster", "status")[0])
    until(lambda: [line.split()[2] for line in tsdb("cluster", "status")[3:]] == ["yes", "yes"])
    lines = [line.split() for line in tsdb("cluster", "status")[2:]]
    assert lines[0] == ["node", "role", "runs", "locations", "leads", "addresses"]
    assert sorted(line[1] for line in lines[1:]) == ["coordinator", "node"]
    full = next(line[0] for line in lines[1:] if line[3] != "0")
    (said,) = tsdb("cluster", "drain", full)
    assert said.startswith(f"node {full} is given nothing new to hold. It keeps the ")
    assert said.endswith(" locations that it has: points do not move between nodes yet")
    status = tsdb("cluster", "status")
    assert f"node {full} drains, and keeps its " in status[-1]
    assert tsdb("cluster", "add", full) == [f"node {full} may hold parts of databases again"]
    with pytest.raises(StartupError, match=f"node {full} holds .* locations"):
        tsdb("cluster", "remove", full)
    with pytest.raises(StartupError, match=r"there is no node 9\. tsdb cluster status lists the nodes\."):
        tsdb("cluster", "remove", "9")
    (said,) = tsdb("cluster", "remove", full, "--accept-loss")
    assert said.startswith(f"node {full} is removed; its number and its data directory never come back")
    until(lambda: two[int(full) - 1].left)
    assert [line.split()[0] for line in tsdb("cluster", "status")[3:]] == [str(3 - int(full))]


def test_users_are_made_listed_changed_and_removed(tsdb: Commands, two: list[OneNode]) -> None:
    assert tsdb("user", "add", "ann", "--superuser", secret="a long secret\n") == ["user ann added"]
    two[1].agreement.wait_readable()
    first = two[1].agreement.state.catalog.roles.by_name["ann"]
    assert first.superuser
    with pytest.raises(ConfigurationError, match='user "ann" exists already'):
        tsdb("user", "add", "ann", secret="x\n")
    assert tsdb("user", "password", "ann", secret="another secret\n") == ["password of ann set"]
    two[1].agreement.wait_readable()
    assert two[1].agreement.state.catalog.roles.by_name["ann"].verifier not in (None, first.verifier)
    assert tsdb("user", "list") == ["tsdb\tsuperuser\tlogin\tno password", "ann\tsuperuser\tlogin\tpassword"]
    assert tsdb("user", "remove", "ann") == ["user ann removed"]
    assert tsdb("user", "list") == ["tsdb\tsuperuser\tlogin\tno password"]


def test_what_there_is_no_sense_in_is_refused(tsdb: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartupError, match=r"no cluster at etcd://.* yet\. The first node that is started there"):
        tsdb("cluster", "status")
    with pytest.raises(ConfigurationError, match="--at is a node's address"):
        tsdb("cluster", "status", "--at", "127.0.0.1:1")
    monkeypatch.setenv("TSDB_METADATA", tsdb.where)
    for words in (
        ["transfer-leader", "2"], ["force-recover", "--accept-loss", "--data", str(tmp_path)],
        ["init", "--data", str(tmp_path)],
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=f"tsdb cluster {words[0]} is for metadata that the nodes keep"):
            CliRunner().invoke(app, ["cluster", *words], catch_exceptions=False)


def test_a_directory_that_follows_etcd_is_not_recovered_nor_given_users_by_itself(
    tsdb: Commands, two: list[OneNode]
) -> None:
    two[0].close()
    try:
        path = str(two[0].path)
        for words in (["cluster", "force-recover", "--accept-loss", "--data", path], ["user", "list", "--data", path]):
            with pytest.raises((StartupError, ConfigurationError), match="kept in etcd: give --metadata"):
                CliRunner().invoke(app, words, catch_exceptions=False)
    finally:
        two[0].open()
