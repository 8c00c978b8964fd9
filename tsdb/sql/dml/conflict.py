"""ON CONFLICT: which points of an INSERT exist already, and what is written then.

Keys are unique in keyed series alone. DO NOTHING keeps what exists; DO UPDATE SET writes, where the key exists, the
columns it names from ``EXCLUDED`` and leaves the others. As everywhere in merges, NULL means absent. With expressions,
WHERE or RETURNING it is an UPDATE (``upsert``), where NULL erases.

Source of the grammar: PostgreSQL 15 manual, INSERT, ON CONFLICT Clause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from tsdb.errors import InvalidColumnReference, UndefinedColumn, UndefinedObject, WrongObjectType
from tsdb.model.points import Int32s, Int64s, Points
from tsdb.model.schema import Role, Series
from tsdb.model.store import TIME_NS, ScanRequest, TimeRange, View
from tsdb.sql import trees
from tsdb.sql.dml.to_points import tagsets_of

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left to write, and which rows of the INSERT it was."""

    points: Points
    rows: Rows


@dataclass(frozen=True)
class Conflict:
    """``updated`` are the numbers of the fields to write where the key exists; None is DO NOTHING, or
    ``computed``: new values that are expressions, which are ``upsert``'s."""

    series: Series
    updated: frozenset[int] | None
    computed: bool = False

    @staticmethod
    def read(tree: exp.Expr, series: Series, database: str) -> Conflict | None:
        """None where nothing can conflict, or where merging does what is asked for."""
        clause = tree.args.get("conflict")
        if clause is None:
            return None
        keys = [trees.name_of(each) for each in clause.args.get("conflict_keys") or ()]
        constraint = clause.args.get("constraint")
        _check_target(series, keys if constraint is None else _columns_of(series, trees.name_of(constraint)))
        nothing = "NOTHING" in str(clause.args.get("action") or "DO NOTHING").upper()
        if not nothing and not keys and constraint is None:
            raise InvalidColumnReference("ON CONFLICT DO UPDATE requires inference specification or constraint name")
        if not series.keyed:
            return None
        if nothing:
            return Conflict(series, None)
        updated = frozenset(_merged(each, series) for each in clause.expressions)
        # RETURNING shows the row as it is then, not as it was given.
        if clause.args.get("where") is not None or None in updated or tree.args.get("returning") is not None:
            return Conflict(series, None, computed=True)
        return Conflict(series, frozenset(number for number in updated if number is not None))

    def resolve(self, view: View, points: Points) -> Kept:
        """The points to write. Rows of equal key inside the INSERT: DO NOTHING keeps the first."""
        existing = existing_rows(view, points)
        every = np.arange(len(points), dtype=np.int64)
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
        if each.name == constraint and each.kind != "u":
            raise WrongObjectType("constraint in ON CONFLICT clause has no associated index")
        if each.name == constraint:
            return [series.by_number[number].name for number in each.columns]
    raise UndefinedObject(f'constraint "{constraint}" for table "{series.name}" does not exist')


def _check_target(series: Series, keys: list[str]) -> None:
    if not keys:
        return
    declared = {series.by_number[n].name for n in series.key}
    whole = {c.name for c in series.columns if c.role is not Role.FIELD}
    if not series.keyed or set(keys) not in (declared, whole):
        raise InvalidColumnReference(
            "there is no unique or exclusion constraint matching the ON CONFLICT specification"
        )


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


def keys_of(points: Points) -> npt.NDArray[np.void]:
    """The points' keys (tag set, time) as comparable records."""
    keys = np.empty(len(points), dtype=[("tagset", np.int32), ("time", np.int64)])
    keys["tagset"] = points.tagset
    keys["time"] = points.times
    return keys


def existing_rows(view: View, points: Points) -> npt.NDArray[np.bool_]:
    """Which of the points have their key (tags and time) in the series already."""
    found = np.zeros(len(points), np.bool_)
    if not len(points):
        return found
    series = points.series
    low, high = int(points.times.min()), int(points.times.max())
    request = ScanRequest(series, (*(c.number for c in series.tags), TIME_NS), TimeRange(low, high + 1))
    for batch in view.scan(request).batches:
        columns = [(c.number, batch.column(i).cast(pa.string())) for i, c in enumerate(series.tags)]
        tagsets, tagset = tagsets_of(columns, batch.num_rows)
        found |= among(points, tagsets, tagset, batch.column(len(columns)).to_numpy(zero_copy_only=False))
    return found


def among(points: Points, tagsets: Sequence[bytes], tagset: Int32s, times: Int64s) -> npt.NDArray[np.bool_]:
    """Which of the points have one of the keys: tag sets by value, each key's index into them, its time."""
    numbers = {each: i for i, each in enumerate(points.tagsets)}
    ours = np.array([numbers.get(each, -1) for each in tagsets], np.int32)[tagset]
    keys = keys_of(points)
    others = np.empty(len(times), dtype=keys.dtype)
    others["tagset"] = ours
    others["time"] = times
    return np.isin(keys, others[ours >= 0])
