"""Result columns in the types that Arrow's users expect: dictionaries as plain values, names instead of OIDs."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.schema import Database
from tsdb.sql import storage_form
from tsdb.sql.catalog import oids
from tsdb.sql.result import ResultColumn
from tsdb.types import NUMERIC, REFERENCES, UINT8, Kind, SqlType

# What clients read of a column's SQL type, in its field's metadata.
TYPE_KEY = b"tsdb:type"


def schema_of(columns: Sequence[ResultColumn], numeric: str, database: Database | None) -> pa.Schema:
    """``numeric``: what numbers without a declared scale become, ``float64`` or ``text``. ``database`` says which are
    columns of line protocol's unsigned integers, numeric in SQL: they stay what they are."""
    fields = []
    for column in columns:
        arrow = pa.uint64() if _is_unsigned(column, database) else arrow_of(column.type, column.typmod, numeric)
        fields.append(pa.field(column.name, arrow, metadata={TYPE_KEY: column.type.name.encode()}))
    return pa.schema(fields)


def _is_unsigned(column: ResultColumn, database: Database | None) -> bool:
    if database is None or not column.attnum or column.type.typname != NUMERIC.typname or column.typmod >= 0:
        return False
    for series in database.series.values():
        if oids.of(series.identity) == column.table_oid:
            return series.columns[column.attnum - 1].type == UINT8
    return False


def arrow_of(sql_type: SqlType, typmod: int, numeric: str) -> pa.DataType:
    """The Arrow type in which a client gets values of a type."""
    if sql_type.element is not None:
        return pa.list_(arrow_of(sql_type.element, typmod, numeric))
    if sql_type in REFERENCES:
        return pa.string()
    if sql_type.typname == NUMERIC.typname and sql_type.kind is not Kind.UINT8:
        if typmod >= 0:
            return pa.decimal128(*storage_form.numeric_precision(typmod))
        return pa.float64() if numeric == "float64" else pa.string()
    return sql_type.arrow


def converted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A result's batch in a client's types."""
    arrays = [_array(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if isinstance(array, pa.DictionaryArray):
        # The values' type first: they are few.
        return _array(array.dictionary, wanted).take(array.indices)
    if array.type == wanted:
        return array
    if pa.types.is_struct(array.type):
        named = pc.struct_field(array, 1)
        return pc.coalesce(named, pc.struct_field(array, 0).cast(pa.string()))
    return array.cast(wanted, safe=not pa.types.is_floating(wanted))
