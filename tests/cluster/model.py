"""A store in plain Python, and random histories that run on it and on the real one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import SEQUENCE, TIME_NS, KeyDeletion, RangeDeletion, ScanRequest, TagIn, View
from tsdb.types import Kind

Tags = tuple[tuple[int, str], ...]
Key = tuple[Tags, int]


@dataclass(frozen=True)
class ModelVersion:
    tags: Tags
    time: int
    fields: dict[int, Any]


@dataclass
class ModelSeries:
    """Every version that no DELETE has hit, in the order they were written."""

    keyed: bool
    versions: list[ModelVersion] = field(default_factory=list)

    def visible(self, series: Series) -> list[tuple[Tags, int, tuple[Any, ...]]]:
        """(tags, time, field values in the order of the schema), in no order."""
        kept = [v for v in self.versions if series.floor_ns is None or v.time >= series.floor_ns]
        if not self.keyed:
            return [(v.tags, v.time, values_of(v.fields, series)) for v in kept]
        merged: dict[Key, dict[int, Any]] = {}
        for version in kept:
            fields = merged.setdefault((version.tags, version.time), {})
            fields.update({n: value for n, value in version.fields.items() if value is not None})
        return [(tags, time, values_of(fields, series)) for (tags, time), fields in merged.items()]

    def delete_range(self, deletion: RangeDeletion) -> None:
        self.versions = [v for v in self.versions if not is_hit(v, deletion)]

    def delete_keys(self, keys: Iterable[Key]) -> None:
        gone = set(keys)
        self.versions = [v for v in self.versions if (v.tags, v.time) not in gone]


def is_hit(version: ModelVersion, deletion: RangeDeletion) -> bool:
    if not deletion.range.low <= version.time < deletion.range.high:
        return False
    tags = dict(version.tags)
    return all((tags.get(tag.column) in tag.values) != tag.negated for tag in deletion.tags)


def values_of(fields: dict[int, Any], series: Series) -> tuple[Any, ...]:
    return tuple(value_of(fields, column) for column in series.fields)


def value_of(fields: dict[int, Any], column: Column) -> Any:
    if fields.get(column.number) is not None:
        return fields[column.number]
    for number, kind in column.former:
        value = fields.get(number)
        if value is not None:
            return convert(value, kind, column.kind)
    return None


def convert(value: Any, source: Kind, target: Kind) -> Any:
    if target is Kind.FLOAT8:
        return float(value)
    if target is Kind.TEXT:
        return ("true" if value else "false") if source is Kind.BOOL else str(value)
    raise AssertionError("histories change types in ways that lose nothing")


def random_value(random: Random, kind: Kind) -> Any:
    match kind:
        case Kind.FLOAT8:
            return random.choice([0.0, -1.5, 1e300, float(random.randrange(1000))])
        case Kind.INT8:
            return random.choice([0, -(2**63), 2**63 - 1, random.randrange(1000)])
        case Kind.UINT8:
            return random.choice([0, 2**64 - 1, random.randrange(1000)])
        case Kind.BOOL:
            return random.random() < 0.5
    return random.choice(["", "ä", "x" * random.randrange(40), str(random.randrange(5))])


def points_of(series: Series, versions: list[ModelVersion]) -> Points:
    distinct = sorted({v.tags for v in versions})
    place = {tags: i for i, tags in enumerate(distinct)}
    fields = {}
    for column in series.fields:
        values = [v.fields.get(column.number) for v in versions]
        if any(value is not None for value in values):
            fields[column.number] = pa.array(values, column.kind.arrow)
    return Points(
        series,
        np.array([v.time for v in versions], np.int64),
        [encode_tagset(tags) for tags in distinct],
        np.array([place[v.tags] for v in versions], np.int32),
        fields,
    )


def key_deletion(series: Series, keys: list[Key], sequences: list[int] | None = None) -> KeyDeletion:
    distinct = sorted({tags for tags, _ in keys})
    place = {tags: i for i, tags in enumerate(distinct)}
    return KeyDeletion(
        series,
        [encode_tagset(tags) for tags in distinct],
        np.array([place[tags] for tags, _ in keys], np.int32),
        np.array([time for _, time in keys], np.int64),
        None if sequences is None else np.array(sequences, np.int64),
    )


@dataclass(frozen=True)
class Seen:
    tags: Tags
    time: int
    fields: tuple[Any, ...]
    sequence: int

    @property
    def row(self) -> tuple[Tags, int, tuple[Any, ...]]:
        return self.tags, self.time, self.fields


def scan(view: View, series: Series, *, sequences: bool = True, **request: Any) -> list[Seen]:
    """All columns of a scan as rows."""
    columns: list[int | str] = [c.number for c in (*series.tags, *series.fields)]
    columns += [TIME_NS, *([SEQUENCE] if sequences else [])]
    running = view.scan(ScanRequest(series, tuple(columns), **request))
    seen: list[Seen] = []
    for batch in running.batches:
        assert batch.schema.equals(running.schema)
        values = [batch.column(i).to_pylist() for i in range(batch.num_columns)]
        tags = values[: len(series.tags)]
        fields = values[len(series.tags) : len(series.tags) + len(series.fields)]
        times = values[len(series.tags) + len(series.fields)]
        numbers = values[-1] if sequences else [0] * batch.num_rows
        for i in range(batch.num_rows):
            present = [(c.number, tags[k][i]) for k, c in enumerate(series.tags) if tags[k][i] is not None]
            seen.append(Seen(tuple(sorted(present)), times[i], tuple(f[i] for f in fields), numbers[i]))
    return seen


def fields_of(series: Series) -> list[Column]:
    return [c for c in series.columns if c.role is Role.FIELD]


def tag_predicate(random: Random, series: Series, values: list[str | None]) -> tuple[TagIn, ...]:
    return tuple(
        TagIn(tag.number, frozenset(random.sample(values, random.randint(1, 2))), random.random() < 0.3)
        for tag in series.tags
        if random.random() < 0.5
    )
