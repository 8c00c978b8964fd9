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
from tsdb.sql.catalog import oids
from tsdb.sql.context import Context
from tsdb.sql.dml import constant_rows


def counted(
    database: Database,
    given: Sequence[Column],
    omitted: Sequence[Column],
    rows: Sequence[Sequence[exp.Expr]] | None,
    overriding: str = "",
) -> tuple[tuple[Column, SqlSequence], ...]:
    """The columns whose NULLs are the sequence's next values: those that are left out, or get DEFAULT in a row, and
    identity columns where OVERRIDING USER VALUE says so.

    Raises GeneratedAlways for a value for a GENERATED ALWAYS column, unless OVERRIDING SYSTEM VALUE is said.
    """
    found = [column for column in omitted if column.sequence]
    for i, column in enumerate(given):
        if not column.sequence:
            continue
        if column.identity and overriding == "user":
            found.append(column)
            continue
        defaults = [constant_rows.is_default(row[i]) for row in rows or ()]
        if column.identity == "a" and overriding != "system" and not (defaults and all(defaults)):
            raise GeneratedAlways(
                f'cannot insert a non-DEFAULT value into column "{column.name}"',
                detail=f'Column "{column.name}" is an identity column defined as GENERATED ALWAYS.',
                hint="Use OVERRIDING SYSTEM VALUE to override.",
            )
        if any(defaults):
            found.append(column)
    sequences = database.sequence_by_number
    return tuple((column, sequences[column.sequence]) for column in found if column.sequence in sequences)


def next_value(column: Column) -> exp.Expr:
    """What DEFAULT is for a column that counts, where an expression is needed."""
    return exp.Anonymous(this="nextval", expressions=[exp.Literal.number(oids.of(column.sequence))])


def filled(array: pa.Array, column: Column, sequence: SqlSequence, context: Context) -> pa.Array:
    """``array`` with next values where it is NULL. Raises SequenceGeneratorLimitExceeded."""
    missing = array.is_null().to_numpy(zero_copy_only=False)
    count = int(missing.sum())
    if not count:
        return array
    assert context.session is not None, "a session's statements can count"
    sequences = context.session.sequences
    values = np.zeros(len(array), np.int64)
    # Who may insert may count an identity column; a default of nextval() needs the sequence's own privilege.
    values[missing] = (
        sequences.take(sequence, count) if column.identity else sequences.nextval(oids.of(sequence.number), count)
    )
    if count < len(array):
        values[~missing] = array.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)
    return pa.array(values).cast(storage_form.arrow_type(column))
