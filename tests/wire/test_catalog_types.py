"""The catalog's own types on the wire: reg*, "char", int2vector and oidvector."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.wire.columns import encode
from tsdb.datetimes import Context
from tsdb.types import BY_NAME, BY_OID, CHAR, NAMED_OID, REFERENCES, storable
from tsdb.wire.messages import BINARY_FORMAT, TEXT_FORMAT
from tsdb.wire.parameters import decode
from tsdb.zones import zone

CONTEXT = Context(zone("UTC"), 0)
ROW = {"oid": 16384, "name": "cpu"}


@pytest.mark.parametrize("typname", [t.typname for t in REFERENCES])
def test_a_reference_is_its_name_in_text_and_its_oid_in_binary(typname: str) -> None:
    array = pa.array([ROW, None, {"oid": 2**32 - 1, "name": "a b"}], NAMED_OID)
    assert encode(array, typname, TEXT_FORMAT) == [b"cpu", None, b"a b"]
    assert encode(array.slice(1), typname, TEXT_FORMAT) == [None, b"a b"]
    assert encode(array, typname, BINARY_FORMAT) == [b"\x00\x00\x40\x00", None, b"\xff\xff\xff\xff"]
    assert encode(pa.array([7, None]), typname, TEXT_FORMAT) == [b"7", None]


def test_an_array_of_references_has_names_in_text_and_oids_in_binary() -> None:
    array = pa.array([[ROW, None], []], pa.list_(NAMED_OID))
    assert encode(array, "_regclass", TEXT_FORMAT) == [b"{cpu,NULL}", b"{}"]
    binary = encode(array, "_regclass", BINARY_FORMAT)[0]
    assert decode(binary, BY_NAME["_regclass"], BINARY_FORMAT, CONTEXT) == [16384, None]


@pytest.mark.parametrize(("typname", "element"), [("int2vector", pa.int16()), ("oidvector", pa.int64())])
def test_a_vector_is_space_separated_and_starts_at_zero(typname: str, element: pa.DataType) -> None:
    array = pa.array([[1, 2, 30], [], None, [4]], pa.list_(element))
    assert encode(array, typname, TEXT_FORMAT) == [b"1 2 30", b"", None, b"4"]
    assert encode(array.slice(3), typname, TEXT_FORMAT) == [b"4"]
    binary = encode(array, typname, BINARY_FORMAT)[0]
    assert binary is not None
    assert binary[16:20] == b"\0\0\0\0"
    assert decode(binary, BY_NAME[typname], BINARY_FORMAT, CONTEXT) == [1, 2, 30]
    assert decode(b"1 2 30", BY_NAME[typname], TEXT_FORMAT, CONTEXT) == [1, 2, 30]


def test_a_reference_comes_by_number_or_by_name() -> None:
    regclass = BY_NAME["regclass"]
    assert decode(b"16384", regclass, TEXT_FORMAT, CONTEXT) == 16384
    assert decode(b"public.cpu", regclass, TEXT_FORMAT, CONTEXT) == "public.cpu"
    assert decode(b"-", regclass, TEXT_FORMAT, CONTEXT) == 0
    assert decode(b"\x00\x00\x40\x00", regclass, BINARY_FORMAT, CONTEXT) == 16384


def test_types_are_known_by_their_oids_and_names() -> None:
    assert len({t.typname for t in BY_OID.values()}) == len(BY_OID)
    assert all(BY_OID[oid].oid == oid for oid in BY_OID)
    assert BY_NAME['"char"'] == CHAR
    assert BY_NAME["char"].typname == "bpchar"
    assert [n for n in ("regclass", "_text", "int2vector", "numeric") if storable(BY_NAME[n])] == ["_text", "numeric"]
