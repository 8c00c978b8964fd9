"""The session in docs/operating.md's "Writing over TCP and UDP" prints what it says."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Start

DOCUMENT = ROOT / "docs" / "operating.md"
PORT = "19009"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, which opens TCP connections")
def test_the_session_of_the_tcp_section(start: Start, tmp_path: Path) -> None:
    text = DOCUMENT.read_text()
    first, last = (text.count("\n", 0, text.index(f"\n## {title}")) for title in ("Writing over TCP", "Files"))
    found = [block for block in blocks(DOCUMENT) if block.language == "sh" and first < block.line < last]
    assert [block.label for block in found] == ["start", ""]
    words = shlex.split(found[0].text.replace("9009", PORT))
    process = start(*words[4:])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", found[1].text.replace("9009", PORT)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (found[1].expected, "")
    with process.connect() as connection:
        assert connection.execute("SELECT count(*) FROM weather").fetchall() == [(2,)]
