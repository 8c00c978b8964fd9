"""The unit for systemd, read by systemd's own checker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.environment import ROOT

UNIT = ROOT / "deploy" / "tsdb.service"
CHECKER = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(CHECKER is None, reason="systemd-analyze is not installed (Debian: systemd)")


def check(unit: Path, text: str) -> subprocess.CompletedProcess[str]:
    unit.write_text(text)
    return subprocess.run([str(CHECKER), "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_systemd_takes_it(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/tsdb/bin/tsdb", sys.executable)
    assert str(sys.executable) in text
    done = check(tmp_path / "tsdb.service", text)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "tsdb.service" in line]) == (0, [])
    misspelt = check(tmp_path / "tsdb.service", text.replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "Unknown key 'NoNewPrivilege'" in misspelt.stderr


@needs_systemd
def test_it_is_kept_in(tmp_path: Path) -> None:
    """The exposure that systemd-analyze gives, of 10, stays below 2."""
    done = subprocess.run(
        [str(CHECKER), "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for tsdb\.service: (\d+\.\d+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) < 2


def test_it_does_not_start_again_what_cannot_get_better() -> None:
    """Exit codes of docs/operating.md: 2 is wrong settings, 3 a removed node, 74 a disk that failed."""
    found = re.search(r"^RestartPreventExitStatus=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    assert found[1].split() == ["2", "3"]
