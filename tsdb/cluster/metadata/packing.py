"""Packing of schema changes: values of ``tsdb.model`` to and from lists of plain values, for a command's body.

A change is [number of its kind, its fields in order]; what a change holds (a column's definition, a role) is the list
of its fields. Fields may be appended with a default, never reordered or taken away: what a list lacks at its end is
read as the default. A type is [OID, kind], as in the catalog's records; a database's own is found in the catalog that
the change is applied to, and the change is refused if it was dropped meanwhile: all nodes see that. Whatever else does
not fit is DataCorrupted and no refusal: a node that cannot read what others can must stop, and not go on with another
state.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

import msgspec

from tsdb.errors import DataCorrupted, UndefinedObject
from tsdb.model import changes, role_changes
from tsdb.model.catalog import Catalog
from tsdb.model.changes import SchemaChange
from tsdb.model.enums import FIRST_OID
from tsdb.types import BY_OID, UINT8, Kind, SqlType

Own = Mapping[int, SqlType]
"""The types that databases have of their own, by OID."""
Read = Callable[[Any, Own], Any]

# The number of each kind of change. They are in logs and in snapshots' sessions: append only.
KINDS: tuple[Any, ...] = (
    changes.CreateDatabase, changes.DropDatabase, changes.RenameDatabase, changes.CreateSeries, changes.DropSeries,
    changes.RenameSeries, changes.AddColumn, changes.DropColumn, changes.RenameColumn, changes.AlterColumnType,
    changes.AlterColumn, changes.SetRetention, changes.SetContinuous, changes.CreateNamespace, changes.DropNamespace,
    changes.RenameNamespace, changes.MoveRelation, changes.CreateView, changes.DropView, changes.RenameView,
    changes.RenameViewColumn, changes.Swap, changes.CreateSequence, changes.DropSequence, changes.RenameSequence,
    changes.AlterSequence, changes.SetIdentity, changes.AddConstraint, changes.DropConstraint,
    changes.ValidateConstraint, changes.RenameConstraint, changes.AddIndex, changes.DropIndex, changes.RenameIndex,
    changes.CreateEnum, changes.DropType, changes.AddLabel, changes.RenameLabel, changes.RenameType, changes.SetComment,
    role_changes.SetSecret, role_changes.CreateRole, role_changes.AlterRole, role_changes.RenameRole,
    role_changes.DropRole, role_changes.GrantRole, role_changes.RevokeRole, role_changes.GrantPrivileges,
    role_changes.SetOwner, role_changes.ReassignOwned, role_changes.DropOwned, role_changes.SetRoleSetting,
    role_changes.AddToken, role_changes.DropToken, changes.SetAcks, changes.SetSlots,
    changes.SettleSlots,
)  # fmt: skip
_NUMBERS = {kind: number for number, kind in enumerate(KINDS, 1)}
_SCALARS = (bool, int, float, str, bytes)
_encoder = msgspec.msgpack.Encoder()


def pack_changes(wanted: Iterable[SchemaChange]) -> bytes:
    return _encoder.encode([[_NUMBERS[type(change)], _packed(change)] for change in wanted])


def unpack_changes(packed: bytes, catalog: Catalog) -> list[SchemaChange]:
    """The changes, with the types that ``catalog`` has. Raises DataCorrupted, UndefinedObject."""
    own: dict[int, SqlType] = {}
    for database in catalog.databases.values():
        own.update(database.type_by_oid)
    try:
        return [_change(number, values, own) for number, values in msgspec.msgpack.decode(packed)]
    except (msgspec.DecodeError, TypeError, ValueError, KeyError, RecursionError) as error:
        raise DataCorrupted(f"a change of the schema cannot be read: {error}") from error


def _change(number: int, values: Any, own: Own) -> SchemaChange:
    if not 1 <= number <= len(KINDS):
        raise ValueError(f"kind {number} is not known to this version")
    return typing.cast(SchemaChange, _reader(KINDS[number - 1])(values, own))


def _packed(value: Any) -> Any:
    if isinstance(value, SqlType):
        return [value.oid, int(value.kind)]
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, _SCALARS):
        return value
    if isinstance(value, tuple):
        return [_packed(each) for each in value]
    assert is_dataclass(value), f"{value!r} is in no change"
    return [_packed(getattr(value, field.name)) for field in fields(value)]


@cache
def _reader(hint: Any) -> Read:
    """What reads a value of a type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments)
    if origin is tuple:
        return _each(_reader(arguments[0])) if arguments[1:] == (...,) else _row([_reader(each) for each in arguments])
    if hint is Any:
        return _scalar
    if hint is SqlType:
        return _type
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value, own: hint(_checked(value, int))
    if is_dataclass(hint):
        return _fields(hint)
    assert hint in _SCALARS, f"{hint} is in no change"
    return lambda value, own: _checked(value, hint)


def _checked(value: Any, kind: Any) -> Any:
    # A float may have come as an integer by nothing but its value; all else is as it was packed.
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{kind.__name__} expected, not {value!r}"[:200])
    return kind(value)


def _scalar(value: Any, own: Own) -> Any:
    if value is not None and type(value) not in _SCALARS:
        raise TypeError(f"a plain value expected, not {value!r}"[:200])
    return value


def _type(value: Any, own: Own) -> SqlType:
    oid, kind = value
    if Kind(kind) is Kind.UINT8:
        return UINT8
    found = BY_OID.get(oid) or own.get(oid)
    if found is None and oid >= FIRST_OID:
        raise UndefinedObject(f"type with OID {oid} does not exist")
    if found is None:
        raise KeyError(f"there is no type {oid}")
    return found


def _optional(arguments: Sequence[Any]) -> Read:
    (hint,) = [each for each in arguments if each is not type(None)]
    read = _reader(hint)
    return lambda value, own: None if value is None else read(value, own)


def _each(read: Read) -> Read:
    return lambda value, own: tuple(read(each, own) for each in _checked(value, list))


def _row(readers: Sequence[Read]) -> Read:
    def row(value: Any, own: Own) -> Any:
        return tuple(read(each, own) for read, each in zip(readers, _checked(value, list), strict=True))

    return row


def _fields(kind: Any) -> Read:
    hints = typing.get_type_hints(kind)
    readers = [_reader(hints[field.name]) for field in fields(kind)]
    needed = sum(field.default is MISSING and field.default_factory is MISSING for field in fields(kind))

    def read(value: Any, own: Own) -> Any:
        values = _checked(value, list)
        if not needed <= len(values) <= len(readers):
            raise ValueError(f"{kind.__name__} has {len(values)} fields")
        return kind(*(each(of, own) for each, of in zip(readers, values, strict=False)))

    return read
