"""The session in docs/operating.md's "Who may connect": its shell blocks run in order and print what they say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.server import Start

PROGRAMS = ("bash", "curl", "psql", "openssl")
DOCUMENT = ROOT / "docs" / "operating.md"


def section() -> list[Block]:
    text = DOCUMENT.read_text()
    first, last = (text.count("\n", 0, text.index(f"\n## {title}")) for title in ("Who may connect", "Writing over"))
    return [block for block in blocks(DOCUMENT) if block.language == "sh" and first < block.line < last]


@pytest.mark.psql
@pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=f"needs {', '.join(PROGRAMS)} on the PATH")
def test_the_session_of_the_security_section(start: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    ports = {}
    ran = 0
    for block in section():
        script = block.text.replace("/var/lib/tsdb", str(data))
        if block.label == "start":
            words = [str(tmp_path / word) if word.startswith("server.") else word for word in shlex.split(script)]
            process = start(*words[4:], data=data)
            ports = {"5432": str(process.pg_port), "8086": str(process.http_port)}
            continue
        for written, taken in ports.items():
            script = script.replace(written, taken)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'tsdb() {{ {sys.executable} -m tsdb "$@"; }}\n{script}'],
            env={**clean_environment(), "LC_ALL": "C.UTF-8", "PSQLRC": "/dev/null", "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}: {done.stderr}"
        if block.expected is not None:
            assert done.stdout.strip() == block.expected.strip(), f"line {block.line}"
        ran += 1
    assert ran >= 4
