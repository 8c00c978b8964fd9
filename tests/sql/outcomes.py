"""What a statement gives, here and on a real PostgreSQL, in one form that can be compared: the columns' names, types
and modifiers, the rows as the texts that a client sees, or the SQLSTATE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import psycopg
from psycopg.pq import ExecStatus

from tests.sql.answers import CONTEXT
from tsdb.errors import TsdbError
from tsdb.model.store import View
from tsdb.sql.context import Context
from tsdb.sql.query import Queries
from tsdb.sql.statement import Explain, Select, parse, split
from tsdb.types import BY_OID
from tsdb.wire.images import ColumnImages
from tsdb.wire.messages import TEXT_FORMAT
from tsdb.zones import zone

Column = tuple[str, int, int]
Row = tuple[str | None, ...]
# So many units in the last place may two computations of a float differ.
FLOAT_TOLERANCE = 1e-13


@dataclass(frozen=True)
class Outcome:
    """``columns`` are (name, type OID, type modifier); ``state`` is "" or the SQLSTATE, then ``message`` says why."""

    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    state: str = ""
    message: str = ""


def ours(queries: Queries, view: View, text: str, context: Context = CONTEXT) -> Outcome:
    try:
        (fragment,) = split(text)
        statement = parse(fragment)
        assert isinstance(statement, Select | Explain), type(statement)
        prepared = queries.prepare(statement, context, view.catalog)
        running = queries.run(prepared, view, (), context)
        session_zone = zone(context.time_zone)
        writers = [ColumnImages(c.type, TEXT_FORMAT, session_zone) for c in prepared.columns]
        rows: list[Row] = []
        try:
            for batch in running:
                texts = [_texts(w, a) for w, a in zip(writers, batch.columns, strict=True)]
                rows += zip(*texts, strict=True) if texts else [()] * len(batch)
        finally:
            running.close()
    except TsdbError as error:
        return Outcome(state=error.sqlstate, message=str(error))
    return Outcome(tuple((c.name, c.type.oid, c.typmod) for c in prepared.columns), tuple(rows))


def _texts(writer: ColumnImages, array: object) -> list[str | None]:
    image = writer.image(array)
    octets = image.octets.tobytes()
    return [
        None if n < 0 else octets[s : s + n].decode()
        for s, n in zip(image.starts.tolist(), image.lengths.tolist(), strict=True)
    ]


def theirs(connection: psycopg.Connection[tuple[object, ...]], text: str) -> Outcome:
    result = connection.pgconn.exec_(text.encode())
    if result.status != ExecStatus.TUPLES_OK:
        state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"?"
        return Outcome(state=state.decode(), message=result.error_message.decode().strip())
    columns = tuple(((result.fname(i) or b"").decode(), result.ftype(i), result.fmod(i)) for i in range(result.nfields))
    rows = tuple(
        tuple(None if (v := result.get_value(r, c)) is None else v.decode() for c in range(result.nfields))
        for r in range(result.ntuples)
    )
    return Outcome(columns, rows)


def difference(mine: Outcome, real: Outcome, *, ordered: bool) -> str:
    """In which way two outcomes differ; "" when they are the same."""
    if mine.state or real.state:
        if mine.state == real.state:
            return ""
        return (
            f"{mine.state or 'rows'} {mine.message!r} is not {real.state or 'rows'} {real.message or real.rows[:3]!r}"
        )
    if mine.columns != real.columns:
        return f"columns {mine.columns} are not {real.columns}"
    if len(mine.rows) != len(real.rows):
        return f"{len(mine.rows)} rows are not {len(real.rows)}"
    a, b = list(mine.rows), list(real.rows)
    if not ordered:
        a, b = sorted(a, key=_key), sorted(b, key=_key)
    for one, other in zip(a, b, strict=True):
        if not all(_same(x, y, c[1]) for x, y, c in zip(one, other, real.columns, strict=True)):
            return f"row {one} is not {other}"
    return ""


def _key(row: Row) -> str:
    return repr([_rounded(v) for v in row])


def _rounded(value: str | None) -> str | None:
    try:
        return value if value is None else f"{float(value):.8g}"
    except ValueError:
        return value


def _same(one: str | None, other: str | None, oid: int) -> bool:
    if one == other:
        return True
    found = BY_OID.get(oid)
    if one is None or other is None or found is None:
        return False
    if found.typname in ("float4", "float8"):
        return math.isclose(float(one), float(other), rel_tol=FLOAT_TOLERANCE, abs_tol=1e-300)
    if found.typname in ("_float4", "_float8"):
        a, b = one.strip("{}").split(","), other.strip("{}").split(",")
        return len(a) == len(b) and all(_same(x, y, 701) for x, y in zip(a, b, strict=True))
    return False
