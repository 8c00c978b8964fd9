"""Commands and schema changes as bytes: what is read is what was written, and what cannot be read is said so."""

from __future__ import annotations

import contextlib
import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.draws import commands
from tests.storage_formats.test_metadata import changes
from tsdb.cluster.metadata.commands import (
    COMMAND_BYTES_MAX,
    MAGIC,
    VERSION,
    AddMember,
    ChangeSchema,
    Command,
    NewMember,
    decode,
    encode,
)
from tsdb.cluster.metadata.packing import KINDS, pack_changes, unpack_changes
from tsdb.errors import DataCorrupted, ProgramLimitExceeded, UndefinedObject
from tsdb.model.changes import SchemaChange as AnyChange
from tsdb.model.schema import (
    AddColumn,
    Catalog,
    ColumnDefinition,
    CreateDatabase,
    CreateEnum,
    Role,
    SchemaChange,
    SetRetention,
    apply,
)
from tsdb.storage.frame import seal
from tsdb.types import INT8


def test_every_change_of_the_schema_has_a_number() -> None:
    assert set(typing.get_args(AnyChange)) == set(KINDS)
    assert len(set(KINDS)) == len(KINDS)


# Of these the first numbers were in logs first; whoever adds a kind adds it at the end.
def test_numbers_of_changes_stay() -> None:
    names = [kind.__name__ for kind in KINDS]
    assert (names.index("CreateDatabase"), names.index("SetComment"), names.index("DropToken")) == (0, 39, 53)


@given(st.lists(changes, max_size=5))
@settings(max_examples=200)
def test_changes_are_read_as_they_were_packed(wanted: list[SchemaChange]) -> None:
    assert unpack_changes(pack_changes(wanted), Catalog()) == wanted


def test_a_databases_own_type_is_found_in_the_catalog() -> None:
    catalog = apply(Catalog(), [CreateDatabase("d"), CreateEnum("d", "public", "mood", ("sad", "happy"))])
    mood = catalog.find("d").types["mood"]
    for type_ in (mood.sql_type, mood.array_type):
        packed = pack_changes([AddColumn("d", "s", ColumnDefinition("m", Role.FIELD, type_))])
        (change,) = unpack_changes(packed, catalog)
        assert isinstance(change, AddColumn)
        assert change.column.type.labels == type_.labels
        with pytest.raises(UndefinedObject, match=f"type with OID {type_.oid} does not exist"):
            unpack_changes(packed, Catalog())


def test_a_type_of_a_later_version_is_corrupt_and_no_refusal() -> None:
    packed = pack_changes([AddColumn("d", "s", ColumnDefinition("m", Role.FIELD, INT8))])
    later = packed.replace(msgspec.msgpack.encode([INT8.oid, 2]), msgspec.msgpack.encode([9_999, 2]))
    assert later != packed
    with pytest.raises(DataCorrupted, match="there is no type 9999"):
        unpack_changes(later, Catalog())


def test_fields_that_an_older_version_did_not_have_are_read_as_their_defaults() -> None:
    (packed,) = msgspec.msgpack.decode(pack_changes([SetRetention("d", "s", 5)]))
    assert unpack_changes(msgspec.msgpack.encode([[packed[0], packed[1][:3]]]), Catalog()) == [
        SetRetention("d", "s", 5)
    ]
    with pytest.raises(DataCorrupted):
        unpack_changes(msgspec.msgpack.encode([[packed[0], packed[1][:2]]]), Catalog())
    with pytest.raises(DataCorrupted):
        unpack_changes(msgspec.msgpack.encode([[packed[0], [*packed[1], 1]]]), Catalog())


def test_a_kind_of_a_later_version_is_corrupt_and_no_refusal() -> None:
    for number in (0, len(KINDS) + 1):
        with pytest.raises(DataCorrupted, match="not known to this version"):
            unpack_changes(msgspec.msgpack.encode([[number, []]]), Catalog())


@given(st.data())
@settings(max_examples=200)
def test_a_changed_value_is_read_or_corrupt(data: st.DataObject) -> None:
    """A frame's checksum keeps bad bytes away; this is about what another version might write."""
    plain = msgspec.msgpack.decode(pack_changes([data.draw(changes)]))
    odd: object = data.draw(st.sampled_from([None, -1, "x", b"x", [], [[]], 2**63, 1.5, {}, True]))
    at = data.draw(st.integers(0, max(len(plain[0][1]) - 1, 0)))
    if plain[0][1]:
        plain[0][1][at] = odd
    with contextlib.suppress(DataCorrupted):
        unpack_changes(msgspec.msgpack.encode(plain), Catalog())


@pytest.mark.parametrize("seed", range(10))
def test_a_command_is_read_as_it_was_written(seed: int) -> None:
    for wanted in commands(seed, 60):
        assert decode(encode(wanted)) == wanted


def test_any_changed_byte_of_a_command_is_found() -> None:
    body = encode(Command(AddMember(NewMember(b"u" * 16, (("peer", "h:1"),)))))
    for position in range(len(body)):
        broken = bytearray(body)
        broken[position] ^= 0x10
        with pytest.raises(DataCorrupted):
            decode(bytes(broken))


def test_a_command_of_another_version_or_kind_is_not_guessed_at() -> None:
    good = encode(commands(1, 30)[-1])
    with pytest.raises(DataCorrupted, match="format version"):
        decode(seal(MAGIC, VERSION + 1, good[3:-4]))
    with pytest.raises(DataCorrupted):
        decode(seal(MAGIC, VERSION, msgspec.msgpack.encode([[99, 1]])))
    with pytest.raises(DataCorrupted, match="not known"):
        decode(seal(MAGIC, VERSION, msgspec.msgpack.encode([[14], 0, [["nonsense", 1, 1]]])))


@pytest.mark.parametrize("odd", [b"\x91" * 5_000, b"\xa1\xff"], ids=["too deep", "no UTF-8"])
def test_what_msgpack_cannot_read_is_corrupt(odd: bytes) -> None:
    with pytest.raises(DataCorrupted):  # in the place of a client's name
        decode(seal(MAGIC, VERSION, b"\x91\x93\x0b" + odd + b"\x01"))
    with pytest.raises(DataCorrupted):  # behind what this version knows
        decode(seal(MAGIC, VERSION, b"\x97\x91\x0e\x00\x90\x00\x00\x00" + odd[:-1]))
    with pytest.raises(DataCorrupted):
        unpack_changes(odd, Catalog())


def test_a_command_has_a_bound() -> None:
    large = ChangeSchema(b"x" * COMMAND_BYTES_MAX)
    with pytest.raises(ProgramLimitExceeded, match="at most"):
        encode(Command(large))
    with pytest.raises(DataCorrupted):
        decode(b"x" * (COMMAND_BYTES_MAX + 1))
