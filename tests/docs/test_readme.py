"""The README's session works as it is printed: its blocks are run in order and their output compared."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.docs.blocks import blocks
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Start

PROGRAMS = ("bash", "curl", "psql")


@pytest.mark.psql
@pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=f"needs {', '.join(PROGRAMS)} on the PATH")
def test_the_session_of_the_readme(start: Start) -> None:
    process = start()
    ran = 0
    for block in blocks(ROOT / "README.md"):
        if block.language != "sh" or block.label in ("skip", "start"):
            continue
        script = block.text.replace("5432", str(process.pg_port)).replace("8086", str(process.http_port))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**clean_environment(), "LC_ALL": "C.UTF-8", "PSQLRC": "/dev/null"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}: {done.stderr}"
        if block.expected is not None:
            assert done.stdout == block.expected, f"line {block.line}"
        ran += 1
    assert ran >= 5
