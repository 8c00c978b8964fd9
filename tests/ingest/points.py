"""Flatten what ``parse`` found into plain tuples, line by line, for comparisons."""

from __future__ import annotations

import numpy as np

from tests.ingest.reference import Point, bits_of
from tsdb.ingest.lineprotocol import Parsed
from tsdb.types import Kind


def points_of(parsed: Parsed) -> list[Point]:
    """(line number, measurement, tags, field → (kind, value), time), sorted by line; floats as their bits."""
    found: list[Point] = []
    for lines in parsed.lines:
        first = len(found)
        for number, key, time in zip(lines.line_numbers, lines.key, lines.times, strict=True):
            found.append((int(number), lines.measurement, lines.keys.pairs(key), {}, int(time)))
        for column in lines.fields:
            values = column.values.tolist() if isinstance(column.values, np.ndarray) else column.values.to_pylist()
            for row, value in zip(column.rows.tolist(), values, strict=True):
                fields = found[first + row][3]
                assert column.name not in fields
                fields[column.name] = (column.kind, bits_of(value) if column.kind is Kind.FLOAT8 else value)
    return sorted(found, key=lambda point: point[0])
