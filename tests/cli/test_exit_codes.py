"""With what a command ends when it cannot do what it was asked for: systemd goes by it (deploy/tsdb.service)."""

from __future__ import annotations

import pytest

import tsdb.cli.app
from tsdb.errors import ConfigurationError, NodeRemoved, StartupError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StartupError("the port is taken"), 1),
        (ConfigurationError("no such port"), 2),
        (NodeRemoved("it was removed"), 3),
    ],
)
def test_each_failure_has_its_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(tsdb.cli.app, "app", fail)
    assert tsdb.cli.app._run() == code
    assert capsys.readouterr().err == f"tsdb: {error}\n"
