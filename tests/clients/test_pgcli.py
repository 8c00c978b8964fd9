"""pgcli, as a command: it looks at the catalog before it runs what it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.session.conftest import Server


def test_a_statement_is_run_and_shown(server: Server, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "pgcli"
    done = subprocess.run(
        [str(program), "-h", "127.0.0.1", "-p", str(server.port), "-U", "tester", "-d", "tsdb", "-c", "SELECT 42 AS a"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(tmp_path), "PGSSLMODE": "disable"},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SELECT 1" in done.stdout
    assert "42" in done.stdout
