"""What a real PostgreSQL 15 prints and reads: tables made by ``make.py``, checked by ``test_golden.py``.

values.jsonl    [type, time zone, text form, binary form in hex]    of the same value
inputs.jsonl    [type, time zone, input text, binary form in hex or SQLSTATE]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parent
VALUES = DIRECTORY / "values.jsonl"
INPUTS = DIRECTORY / "inputs.jsonl"


class Row(NamedTuple):
    typname: str
    timezone: str
    text: str
    answer: str


def read(path: Path) -> Iterator[Row]:
    with path.open() as lines:
        for line in lines:
            yield Row(*json.loads(line))
