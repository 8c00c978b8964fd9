"""The sessions in docs/operating.md about TCP and about import and export print what they say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.ports import free_port
from tests.fixtures.server import Start

DOCUMENT = ROOT / "docs" / "operating.md"
TITLES = ["Writing over TCP and UDP", "Import and export", "Files"]
# The documents' server has its own ports.
TSDB = """tsdb() {{
  case $1 in
  import) shift; {program} import --sql {sql} --http http://127.0.0.1:{http} --journal journals "$@" ;;
  export) shift; {program} export --sql {sql} "$@" ;;
  esac
}}
"""


def section(title: str, following: str) -> list[Block]:
    text = DOCUMENT.read_text()
    first, last = (text.count("\n", 0, text.index(f"\n## {each}")) for each in (title, following))
    return [block for block in blocks(DOCUMENT) if block.language == "sh" and first < block.line < last]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, which opens TCP connections")
@pytest.mark.parametrize(("title", "following"), list(pairwise(TITLES)))
def test_the_session_of_a_section(start: Start, tmp_path: Path, title: str, following: str) -> None:
    beginning, session = section(title, following)
    assert beginning.label == "start"
    port = str(free_port())
    process = start(*shlex.split(beginning.text.replace("9009", port))[4:])
    program = f"{shlex.quote(sys.executable)} -m tsdb"
    script = TSDB.format(program=program, sql=process.pg_url, http=process.http_port) + session.text
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("9009", port)],
        env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (session.expected, "")
