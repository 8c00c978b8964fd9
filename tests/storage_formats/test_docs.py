"""The documents of the formats say what the code does: every constant they name, every family, kind and magic."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tsdb.cluster.metadata import commands, machine
from tsdb.model.schema import Role
from tsdb.storage import block, keys, metadata, replica_log, state, tagsets, tombstone
from tsdb.storage.codec import Encoding
from tsdb.storage.op import OpKind
from tsdb.storage.rocks import UNCOMPRESSED
from tsdb.storage.summaries import packed
from tsdb.types import Kind

FORMATS = Path(__file__).parents[2] / "docs" / "format"
DOCUMENTS = sorted(FORMATS.glob("*.md"))
OURS = ("keys", "op", "block", "column", "summary", "tagset", "tombstone", "metadata", "frame")
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)`", re.MULTILINE)


def text(name: str) -> str:
    return (FORMATS / f"{name}.md").read_text()


def rows(name: str) -> dict[str, str]:
    return dict(ROW.findall(text(name)))


def constant(dotted: str) -> str:
    module, rest = dotted.rsplit(".", 1) if ".size" not in dotted and ".format" not in dotted else _layout(dotted)
    value = importlib.import_module(module)
    for name in rest.split("."):
        value = getattr(value, name)
    return value.decode() if isinstance(value, bytes) else str(value)


def _layout(dotted: str) -> tuple[str, str]:
    module, layout, attribute = dotted.rsplit(".", 2)
    return module, f"{layout}.{attribute}"


NAMED = [
    pytest.param(name, value, id=name)
    for document in DOCUMENTS
    for name, value in ROW.findall(document.read_text())
    if name.startswith("tsdb.")
]


@pytest.mark.parametrize(("name", "value"), NAMED)
def test_a_documented_constant_is_the_codes(name: str, value: str) -> None:
    assert constant(name) == value


def test_every_format_has_its_document_with_constants() -> None:
    for name in OURS:
        assert any(row.startswith("tsdb.storage.") for row in rows(name)), name


def test_kinds_and_encodings_are_documented() -> None:
    op, column = rows("op"), rows("column")
    assert {kind.name: str(kind.value) for kind in OpKind}.items() <= op.items()
    assert {kind.name: str(kind.value) for kind in Kind}.items() <= column.items()
    assert {encoding.name: str(encoding.value) for encoding in Encoding}.items() <= column.items()
    assert f"{Role.TIME:d} time, {Role.TAG:d} tag, {Role.FIELD:d} field" in text("metadata")


def test_families_their_keys_and_compression_are_documented() -> None:
    document = text("keys")
    for family in keys.FAMILIES:
        assert re.search(rf"^{family} +┌", document, re.MULTILINE), family
        (compression,) = re.findall(rf"^\| `{family}` \| .* \| (\w+)[^|]* \|$", document, re.MULTILINE)
        assert compression == ("none" if family in UNCOMPRESSED else "zstd"), family
    assert len(re.findall(r"^\w+ +┌", document, re.MULTILINE)) == len(keys.FAMILIES)


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("ops", keys.op_key(1, 2)),
        ("blocks", keys.block_key(1, 2, 3)),
        ("runs", keys.runs_key(1, 2)),
        ("columns", keys.column_key(1, 2, 3)),
        ("summaries", keys.summary_key(1, 2, 3)),
        ("tagsets", keys.tagset_key(1, 2)),
        ("tombstones", keys.tombstone_key(1, 2)),
        ("markers", keys.marker_key(1, 2)),
        ("raft", keys.raft_key(1, 2, 3)),
    ],
)
def test_the_widths_in_a_keys_diagram_add_up(family: str, key: bytes) -> None:
    (diagram,) = re.findall(rf"^{family} +┌(.*)$", text("keys"), re.MULTILINE)
    assert sum(map(int, re.findall(r"<(\d+) B>", diagram))) == len(key)


def test_every_magic_is_documented_once() -> None:
    ours = [block.MAGIC, block.RUNS_MAGIC, metadata.MAGIC, tagsets.MAGIC, tombstone.MAGIC, state.MAGIC, packed.MAGIC]
    ours += [commands.MAGIC, machine.MAGIC, replica_log.MAGIC]
    assert len(set(ours)) == len(ours)
    assert sorted(re.findall(r"^\| `(T.)` \|", text("frame"), re.MULTILINE)) == sorted(m.decode() for m in ours)
