"""docs/python.md: its blocks run in order, as one program, and print what stands below them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.auth.conftest import running
from tests.docs.blocks import blocks
from tests.fixtures.environment import ROOT, clean_environment

_BETWEEN = "--- the next block ---\n"


def test_the_examples_print_what_they_say(tmp_path: Path) -> None:
    shown = [b for b in blocks(ROOT / "docs" / "python.md") if b.language == "python" and b.label != "skip"]
    assert len(shown) == 5
    program = f"print({_BETWEEN!r}, end='')\n".join(block.text for block in shown)
    with running(tmp_path / "data", None, flight_port=0) as server:
        done = subprocess.run(
            [sys.executable, "-c", program.replace("5481", str(server.server.flight_port))],
            env=clean_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(_BETWEEN) == [block.expected for block in shown]
