"""Rows as values: ``(1,"a b",)``, and their binary form.

    count   int32, of fields
    each    int32 OID of its type | int32 length (-1: NULL) | the value's binary form

A column of rows is written field by field, each by one kernel for all rows.

Source: PostgreSQL 15, src/backend/utils/adt/rowtypes.c (record_out, record_send).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.wire.digits import Bytes, Lengths
from tsdb.wire.octets import needs_quotes, put_int32

Int64s = npt.NDArray[np.int64]
# A field of all rows: octets, starts, lengths (-1: NULL), and a byte before each value or -1.
FieldValues = tuple[Bytes, Int64s, Lengths, int]

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA = 34, 92, 40, 41, 44


def bounds_of(fields: Sequence[FieldValues], rows: int, *, binary: bool) -> tuple[Int64s, int]:
    """Where each row may begin so that it has room for its fields, and the room of all."""
    room: Any = np.full(rows, 4 + 9 * len(fields) if binary else 2 + 3 * len(fields), np.int64)
    for _, _, lengths, _ in fields:
        room += np.maximum(lengths, 0).astype(np.int64) * (1 if binary else 2)
    ends = np.cumsum(room)
    return ends - room, int(ends[-1]) if rows else 0


def write(fields: Sequence[FieldValues], oids: Sequence[int], bounds: Int64s, out: Bytes, *, binary: bool) -> Lengths:
    """Write all rows from their ``bounds`` on; gives their lengths. ``out`` has the room of ``bounds_of``."""
    at = bounds.copy()
    if binary:
        _begin_binary(at, len(fields), out)
    else:
        _put_octet(at, _OPEN, out)
    for number, (octets, starts, lengths, prefix) in enumerate(fields):
        if binary:
            _put_binary(octets, starts, lengths, prefix, oids[number], at, out)
        else:
            _put_text(octets, starts, lengths, number > 0, at, out)
    if not binary:
        _put_octet(at, _CLOSE, out)
    return (at - bounds).astype(np.int32)


@kernel
def _put_octet(at: Int64s, octet: int, out: Bytes) -> None:
    for i in range(len(at)):
        out[at[i]] = octet
        at[i] += 1


@kernel
def _begin_binary(at: Int64s, count: int, out: Bytes) -> None:
    for i in range(len(at)):
        at[i] = put_int32(out, at[i], count)


@kernel
def _put_binary(octets: Bytes, starts: Int64s, lengths: Lengths, prefix: int, oid: int, at: Int64s, out: Bytes) -> None:
    extra = 1 if prefix >= 0 else 0
    for i in range(len(at)):
        place = put_int32(out, at[i], oid)
        if lengths[i] < 0:
            at[i] = put_int32(out, place, -1)
            continue
        place = put_int32(out, place, lengths[i] + extra)
        if prefix >= 0:
            out[place] = prefix
            place += 1
        for k in range(lengths[i]):
            out[place + k] = octets[starts[i] + k]
        at[i] = place + lengths[i]


@kernel
def _put_text(octets: Bytes, starts: Int64s, lengths: Lengths, behind: bool, at: Int64s, out: Bytes) -> None:
    """``behind`` another field: after a comma. NULL is nothing."""
    for i in range(len(at)):
        place = at[i]
        if behind:
            out[place] = _COMMA
            place += 1
        if lengths[i] >= 0:
            quoted = needs_quotes(octets, starts[i], lengths[i], _OPEN, _CLOSE)
            if quoted:
                out[place] = _QUOTE
                place += 1
            for k in range(starts[i], starts[i] + lengths[i]):
                octet = octets[k]
                if octet in (_QUOTE, _BACKSLASH):
                    out[place] = octet
                    place += 1
                out[place] = octet
                place += 1
            if quoted:
                out[place] = _QUOTE
                place += 1
        at[i] = place
