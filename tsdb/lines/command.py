"""The comment lines that say something: what a stream's lines are for, and where a numbered batch ends.

    # tsdb: producer=NAME batch=N db=NAME precision=UNIT acks=HOW_MANY
    # tsdb: end

Words come in any order, their values percent-encoded where they need it. Everywhere else these lines are comments like
others, so a file that has them can be sent over HTTP as well.
"""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np

from tsdb.errors import InvalidParameterValue
from tsdb.ingest.lineprotocol import precision_factor
from tsdb.ingest.stream import whole_lines
from tsdb.ingest.write import WriteRequest
from tsdb.model.acks import acks_of
from tsdb.model.store import Producer

MARK = b"# tsdb:"
_END = b"# tsdb: end"
_WORDS = ("producer", "batch", "db", "precision", "acks")
_PRODUCER_BYTES_MAX = 64


def is_command(line: bytes | bytearray) -> bool:
    return line.startswith(MARK)


def read(line: bytes | bytearray, default: WriteRequest) -> WriteRequest:
    """What the lines behind a command are written as: as ``default`` where it says nothing. Raises
    InvalidParameterValue."""
    given: dict[str, str] = {}
    try:
        words = bytes(line[len(MARK) :]).decode().split()
    except UnicodeDecodeError:
        raise InvalidParameterValue("the command is not UTF-8") from None
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in _WORDS or name in given:
            known = ", ".join(f"{each}=" for each in _WORDS)
            raise InvalidParameterValue(f"{word[:80]!r} is none of {known}, each once")
        given[name] = unquote(value)
    precision = given.get("precision", "ns")
    precision_factor(precision)
    acks = _acks(given["acks"]) if "acks" in given else default.acks
    return WriteRequest(given.get("db") or default.database, precision, producer=_producer(given), acks=acks)


def _acks(text: str) -> int:
    try:
        return acks_of(text)
    except ValueError:
        raise InvalidParameterValue(f"acks {text[:40]!r} is none of quorum, all and a number from 0 to 99") from None


def _producer(given: dict[str, str]) -> Producer | None:
    name, batch = given.get("producer"), given.get("batch")
    if name is None and batch is None:
        return None
    if not name or batch is None or len(name.encode()) > _PRODUCER_BYTES_MAX:
        raise InvalidParameterValue(f"producer (1 to {_PRODUCER_BYTES_MAX} bytes) and batch go together")
    if not (batch.isascii() and batch.isdigit() and len(batch) <= 19 and 1 <= int(batch) < 2**63):
        raise InvalidParameterValue(f"batch {batch[:40]!r} is not a number from 1 to 9223372036854775807")
    return Producer(name, int(batch))


def end_of_batch(lines: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """Where the line that ends a batch begins and where the next begins, looked for from ``start``, a line's beginning.

    ``lines`` are whole lines. The text inside a string of a line is none.
    """
    found = start
    while (found := lines.find(_END, found)) >= 0:
        behind = lines.find(b"\n", found)
        begins = found == 0 or lines[found - 1] == 10
        if begins and behind >= 0 and not bytes(lines[found + len(_END) : behind]).strip():
            before = np.frombuffer(memoryview(lines)[start:found], np.uint8)
            if whole_lines(before) == len(before):
                return found, behind + 1
        found += 1
    return None
