"""Against tables written by a real PostgreSQL 15 (``tests/wire/golden``): what it prints, reads and refuses."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.wire import golden
from tests.wire.columns import column, encode
from tsdb.datetimes import Context
from tsdb.errors import TsdbError
from tsdb.types import BY_NAME
from tsdb.wire.parameters import decode
from tsdb.zones import zone


def groups(path: Path) -> list[Any]:
    """One case for each type and time zone."""
    by_key = itertools.groupby(golden.read(path), key=lambda row: (row.typname, row.timezone))
    return [pytest.param(*key, list(rows), id="-".join(key)) for key, rows in by_key]


VALUES = groups(golden.VALUES)
INPUTS = groups(golden.INPUTS)


def context(timezone: str) -> Context:
    return Context(zone(timezone), now_us=0)


def same(left: Any, right: Any) -> bool:
    """Equal in value and digits, with NaN equal to itself and zeros told apart by their sign."""
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return str(left) == str(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@pytest.mark.parametrize(("typname", "timezone", "rows"), VALUES)
def test_text_and_binary_form_of_a_value_decode_to_the_same(
    typname: str, timezone: str, rows: list[golden.Row]
) -> None:
    sql_type = BY_NAME[typname]
    for row in rows:
        by_binary = decode(bytes.fromhex(row.answer), sql_type, 1, context(timezone))
        by_text = decode(row.text.encode(), sql_type, 0, context(timezone))
        assert same(by_binary, by_text), row


@pytest.mark.parametrize(("typname", "timezone", "rows"), VALUES)
def test_values_are_written_as_postgresql_writes_them(typname: str, timezone: str, rows: list[golden.Row]) -> None:
    values = [decode(bytes.fromhex(row.answer), BY_NAME[typname], 1, context(timezone)) for row in rows]
    # Every numeric has a scale of its own; an Arrow column has one: so they go one by one.
    batches = [[k] for k in range(len(rows))] if typname == "numeric" else [list(range(len(rows)))]
    for batch in batches:
        array = column([values[k] for k in batch], BY_NAME[typname])
        texts = encode(array, typname, 0, timezone)
        binaries = encode(array, typname, 1, timezone)
        for k, text, binary in zip(batch, texts, binaries, strict=True):
            assert text == rows[k].text.encode(), rows[k]
            assert binary == bytes.fromhex(rows[k].answer), rows[k]


# Where we read more or less than PostgreSQL, on purpose: texts that nobody writes.
DEVIATIONS = {
    "294277-01-01",  # beyond int64 microseconds since 1970 in a zone east of Greenwich
    "99999999999999999999",  # a date? we say 22007, not 22008
    "P1",  # an ISO interval without a unit, or in the "alternative format"
    "P0001-02-03T04:05:06",
    "1 day day",
    "1 day ago ago",
    "178956970 years 8 mons",  # 22015 instead of 22008
}


def deviates(row: golden.Row) -> bool:
    if row.typname == "time" and any(character in row.text for character in "-/.") and row.answer != "":
        return True  # a whole date in a time: SQLSTATEs differ, and 2026-11-21T… is read
    return row.text in DEVIATIONS


@pytest.mark.parametrize(("typname", "timezone", "rows"), INPUTS)
def test_texts_are_read_and_refused_as_postgresql_does(typname: str, timezone: str, rows: list[golden.Row]) -> None:
    wrong = []
    for row in rows:
        if deviates(row):
            continue
        try:
            value = decode(row.text.encode(), BY_NAME[typname], 0, context(timezone))
        except TsdbError as error:
            outcome: Any = error.sqlstate
            agrees = outcome == row.answer
        else:
            outcome = value
            agrees = len(row.answer) % 2 == 0 and same(
                value, decode(bytes.fromhex(row.answer), BY_NAME[typname], 1, context(timezone))
            )
        if not agrees:
            wrong.append((row.text, row.answer, outcome))
    assert wrong == []
