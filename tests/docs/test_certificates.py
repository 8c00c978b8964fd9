"""The session in docs/operating.md about certificates of nodes prints what it says."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.fixtures.environment import ROOT, clean_environment

DOCUMENT = ROOT / "docs" / "operating.md"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_session_about_certificates(tmp_path: Path) -> None:
    (session,) = (block for block in blocks(DOCUMENT) if block.language == "sh" and "tsdb cert ca" in block.text)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'tsdb() {{ {shlex.quote(sys.executable)} -m tsdb "$@"; }}\n{session.text}'],
        env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (session.expected, "")
