"""ON CONFLICT: which points of an INSERT exist already, and what is written then.

What may conflict is the key of a keyed series, or what is unique in a reference table (``unique``). DO NOTHING keeps
what exists; DO UPDATE SET writes, where the key exists, the columns it names from ``EXCLUDED`` and leaves the others.
As everywhere in merges, NULL means absent. With expressions, WHERE or RETURNING it is an UPDATE (``upsert``), where
NULL erases.

Source of the grammar: PostgreSQL 15 manual, INSERT, ON CONFLICT Clause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from tsdb.errors import InvalidColumnReference, UndefinedColumn, UndefinedObject, WrongObjectType
from tsdb.model.points import Points
from tsdb.model.schema import Role, Series
from tsdb.model.store import View
from tsdb.model.uniqueness import Unique
from tsdb.sql import trees
from tsdb.sql.dml.keys import existing_rows, keys_of
from tsdb.sql.dml.unique import UniqueRows

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left to write, and which rows of the INSERT it was."""

    points: Points
    rows: Rows


@dataclass(frozen=True)
class Conflict:
    """``updated`` are the numbers of the fields to write where the key exists; None is DO NOTHING, or
    ``computed``: new values that are expressions, which are ``upsert``'s. ``arbiters``: of a reference table, in what
    rows may meet."""

    series: Series
    updated: frozenset[int] | None
    computed: bool = False
    arbiters: tuple[Unique, ...] = ()

    @staticmethod
    def read(tree: exp.Expr, series: Series, database: str) -> Conflict | None:
        """None where nothing can conflict, or where merging does what is asked for."""
        clause = tree.args.get("conflict")
        if clause is None:
            return None
        keys = [trees.name_of(each) for each in clause.args.get("conflict_keys") or ()]
        constraint = clause.args.get("constraint")
        columns = keys if constraint is None else _columns_of(series, trees.name_of(constraint))
        arbiters = _arbiters(series, columns)
        nothing = "NOTHING" in str(clause.args.get("action") or "DO NOTHING").upper()
        if not nothing and not keys and constraint is None:
            raise InvalidColumnReference("ON CONFLICT DO UPDATE requires inference specification or constraint name")
        if not series.keyed and not arbiters:
            return None
        if nothing:
            return Conflict(series, None, arbiters=arbiters)
        updated = frozenset(_merged(each, series) for each in clause.expressions)
        # RETURNING shows the row as it is then, not as it was given.
        merges = clause.args.get("where") is None and tree.args.get("returning") is None and not series.checks
        if not merges or None in updated or len(series.uniques) > 1 or not all(each.key for each in arbiters):
            return Conflict(series, None, computed=True, arbiters=arbiters)
        return Conflict(series, frozenset(number for number in updated if number is not None), arbiters=arbiters)

    def resolve(self, view: View, points: Points, unique: UniqueRows | None) -> Kept:
        """The points to write. Rows of equal key inside the INSERT: DO NOTHING keeps the first."""
        every = np.arange(len(points), dtype=np.int64)
        if self.updated is None and unique is not None:
            rows = unique.kept(points, self.arbiters)
            return Kept(points.take(rows), rows)
        existing = existing_rows(view, points)
        if self.updated is None:
            first = np.zeros(len(points), np.bool_)
            first[np.unique(keys_of(points), return_index=True)[1]] = True
            rows = every[first & ~existing]
            return Kept(points.take(rows), rows)
        mask = pa.array(existing)
        fields = {
            number: array if number in self.updated else pc.if_else(mask, pa.scalar(None, array.type), array)
            for number, array in points.fields.items()
        }
        return Kept(Points(points.series, points.times, points.tagsets, points.tagset, fields), every)


def _columns_of(series: Series, constraint: str) -> list[str]:
    """The columns of a unique constraint. Raises UndefinedObject, WrongObjectType."""
    if constraint == (series.key_name or f"{series.name}_pkey") and series.keyed:
        return [c.name for c in series.columns if c.role is not Role.FIELD]
    for each in series.constraints:
        if each.name == constraint and each.kind not in "pu":
            raise WrongObjectType("constraint in ON CONFLICT clause has no associated index")
        if each.name == constraint:
            return [series.by_number[number].name for number in each.columns]
    raise UndefinedObject(f'constraint "{constraint}" for table "{series.name}" does not exist')


def _arbiters(series: Series, columns: list[str]) -> tuple[Unique, ...]:
    """What is unique by these columns; of a reference table all that is unique, if none are named.

    Raises InvalidColumnReference.
    """
    if not columns:
        return series.uniques
    named = set(columns)
    found = tuple(each for each in series.uniques if {series.by_number[n].name for n in each.columns} == named)
    declared = {series.by_number[n].name for n in series.key}
    whole = {c.name for c in series.columns if c.role is not Role.FIELD}
    if not found and (not series.keyed or named not in (declared, whole)):
        raise InvalidColumnReference(
            "there is no unique or exclusion constraint matching the ON CONFLICT specification"
        )
    return found


def _merged(assignment: exp.Expr, series: Series) -> int | None:
    """The number of a field that is set to EXCLUDED's; None for anything else."""
    if isinstance(assignment.this, exp.Tuple):
        return None
    name = trees.name_of(assignment.this)
    column, value = series.by_name.get(name), assignment.expression
    if column is None:
        raise UndefinedColumn(f'column "{name}" of relation "{series.name}" does not exist')
    excluded = (
        isinstance(value, exp.Column)
        and value.args.get("table") is not None
        and trees.name_of(value.args["table"]) == "excluded"
        and trees.name_of(value) == name
    )
    return column.number if excluded else None
