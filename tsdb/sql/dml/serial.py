"""Columns that count: serial, identity, and those with DEFAULT nextval(…). The store gives their values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tsdb.errors import GeneratedAlways
from tsdb.model.catalog import Database
from tsdb.model.relations import SqlSequence
from tsdb.model.schema import Column
from tsdb.sql import storage_form
from tsdb.sql.context import Context
from tsdb.sql.dml import constant_rows


def counted(
    database: Database, given: Sequence[Column], omitted: Sequence[Column], rows: Sequence[Sequence[exp.Expr]] | None
) -> tuple[tuple[Column, SqlSequence], ...]:
    """The columns whose NULLs are the sequence's next values: those that are left out, or get DEFAULT in a row.

    Raises GeneratedAlways for a value for a GENERATED ALWAYS column.
    """
    found = [column for column in omitted if column.sequence]
    for i, column in enumerate(given):
        if not column.sequence:
            continue
        defaults = [constant_rows.is_default(row[i]) for row in rows or ()]
        if column.identity == "a" and not (defaults and all(defaults)):
            raise GeneratedAlways(
                f'cannot insert a non-DEFAULT value into column "{column.name}"',
                detail=f'Column "{column.name}" is an identity column defined as GENERATED ALWAYS.',
                hint="Leave the column out.",
            )
        if any(defaults):
            found.append(column)
    sequences = database.sequence_by_number
    return tuple((column, sequences[column.sequence]) for column in found if column.sequence in sequences)


def filled(array: pa.Array, column: Column, sequence: SqlSequence, context: Context) -> pa.Array:
    """``array`` with next values where it is NULL. Raises SequenceGeneratorLimitExceeded."""
    missing = array.is_null().to_numpy(zero_copy_only=False)
    count = int(missing.sum())
    if not count:
        return array
    assert context.numbers is not None, "a session's statements can count"
    values = np.zeros(len(array), np.int64)
    values[missing] = context.numbers(sequence, count)
    if count < len(array):
        values[~missing] = array.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)
    return pa.array(values).cast(storage_form.arrow_type(column))
