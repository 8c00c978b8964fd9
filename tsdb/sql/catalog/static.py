"""The static part of the catalog: what a PostgreSQL 15 without tables says about itself, captured as Parquet files.

``relations.parquet`` has a row for each column of each relation of pg_catalog and information_schema; the other files
are rows of the relations that have any that matter here. All are read when first asked for, column by column, and kept.
``tsdb.sql.catalog.capture`` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tsdb.types import BY_NAME, BY_OID, SqlType

FORMAT = 1
FORMAT_KEY = b"tsdb.catalog.format"
DIRECTORY = "postgres15"
RELATIONS = "relations"
KEYWORDS = "pg_get_keywords"
PG_CATALOG = "pg_catalog"
INFORMATION_SCHEMA = "information_schema"


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column as clients see it: a domain's base type; ``number`` is attnum."""

    name: str
    type: SqlType
    typmod: int
    number: int


@dataclass(frozen=True, slots=True)
class CatalogRelation:
    """A relation of pg_catalog or information_schema. ``kind`` is relkind: r or v."""

    schema: str
    name: str
    oid: int
    kind: str
    columns: tuple[CatalogColumn, ...]


@cache
def file(name: str) -> Any:
    """The Parquet file of that name, None when nothing was captured. Its format is checked."""
    path = files(__package__).joinpath(DIRECTORY, f"{name}.parquet")
    if not path.is_file():
        return None
    found = pq.ParquetFile(BytesIO(path.read_bytes()))
    version = (found.schema_arrow.metadata or {}).get(FORMAT_KEY, b"?")
    assert version == str(FORMAT).encode(), f"{name}.parquet has format {version!r}, not {FORMAT}"
    return found


@cache
def _column(relation: str, column: str) -> pa.Array | None:
    found = file(relation)
    if found is None or column not in found.schema_arrow.names:
        return None
    return found.read([column], use_threads=False).column(0).combine_chunks()


def row_count(relation: str) -> int:
    """How many captured rows a relation has."""
    found = file(relation)
    return 0 if found is None else int(found.metadata.num_rows)


def column(relation: str, name: str) -> pa.Array | None:
    """A captured column in its type's Arrow form, None when nothing was captured."""
    return _column(relation, name)


def values(relation: str, *names: str) -> Sequence[tuple[Any, ...]]:
    """Some captured columns as rows."""
    arrays = [column(relation, name) for name in names]
    return list(zip(*(a.to_pylist() for a in arrays if a is not None), strict=True))


@cache
def relations() -> dict[tuple[str, str], CatalogRelation]:
    """All relations by (schema, name)."""
    table = file(RELATIONS).read()
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        grouped.setdefault((row["schema"], row["name"]), []).append(row)
    return {
        key: CatalogRelation(*key, rows[0]["oid"], rows[0]["kind"], tuple(_described(row) for row in rows))
        for key, rows in grouped.items()
    }


def _described(row: dict[str, Any]) -> CatalogColumn:
    # pg_statistic_ext_data has an array of a relation's row type, which nobody fills here.
    return CatalogColumn(row["column"], BY_OID.get(row["type"], BY_NAME["_record"]), row["typmod"], row["number"])


@cache
def reserved_words() -> frozenset[str]:
    """The words that quote_ident puts into quotes: all but the unreserved ones."""
    return frozenset(word for word, code in values(KEYWORDS, "word", "catcode") if code != "U")
