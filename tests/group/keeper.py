"""A process that is one node of a cluster without a server above it: records of the metadata, to be read and changed.

    python -m tests.group.keeper DATA FOLDER NAME PORT ADDRESS [JOIN]

Asked by lines of JSON, ``[number, what, …]``, and answers by such lines in any order; it says ``[0, "ready"]`` first.
The records are members' zones: ``read`` is linearizable, ``look`` is what this node knows, ``compare`` changes a record
if its last change is the one that was seen (``Expected``).
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.cluster.transport.nodes import HOST
from tests.group.together import OPTIONS
from tsdb.cluster.group.group import Group
from tsdb.cluster.group.joining import Place
from tsdb.cluster.metadata.commands import ChangeMember, Expected
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.node import Node
from tsdb.errors import CannotConnectNow, SerializationFailure, TsdbError

PATIENCE_S = 3.0
AT_ONCE = 8

_output = threading.Lock()


def say(*words: Any) -> None:
    with _output:
        print(json.dumps(words), flush=True)


def carried_out(node: Node, what: str, *words: Any) -> list[Any]:
    """The answer to one request. Raises TsdbError."""
    agreement = node.agreement
    if what == "standing":
        standing = agreement.standing
        return ["standing", standing.leader, int(agreement.gauges()["raft_term"]), list(standing.voters)]
    number, *rest = words
    if what in ("read", "look"):
        if what == "read":
            agreement.wait_readable()
        record = agreement.state.get(Member, number)
        assert record is not None, f"node {number} is a member from the beginning"
        return ["saw", record.zone, record.changed]
    if what == "write":
        agreement.propose(ChangeMember(number, zone=rest[0]))
        return ["done"]
    assert what == "compare", what
    changed, value = rest
    try:
        agreement.propose(ChangeMember(number, zone=value), (Expected("member", number, changed),))
    except SerializationFailure:
        return ["refused"]
    return ["done"]


def answer(node: Node, line: str) -> None:
    number, *words = json.loads(line)
    try:
        say(number, *carried_out(node, *words))
    except CannotConnectNow:
        say(number, "never")
    except TsdbError as error:
        say(number, "unknown", type(error).__name__)


def serve(data: Path, folder: Path, name: str, port: int, address: str, join: str | None = None) -> None:
    place = Place(
        host=HOST, port=port, address=address, join=join, lost_s=1_000.0, patience_s=PATIENCE_S,
        certificate=folder / f"{name}.crt", key=folder / f"{name}.key", authority=folder / "ca.crt",
    )  # fmt: skip
    data.mkdir(exist_ok=True)
    node = Node.open(data, OPTIONS, lambda engine, options: Group(engine, options, place))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        say(0, "ready")
        for line in sys.stdin:
            pool.submit(answer, node, line)
    node.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
