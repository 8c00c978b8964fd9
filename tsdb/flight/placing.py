"""Schema on write for record batches: what a series lacks, by Arrow types. Pure but for the changes it asks for."""

from __future__ import annotations

import pyarrow as pa

from tsdb.errors import (
    CannotConnectNow,
    DatatypeMismatch,
    DuplicateColumn,
    DuplicateTable,
    FeatureNotSupported,
    InvalidCatalogName,
    UndefinedColumn,
    UndefinedTable,
    WrongObjectType,
)
from tsdb.flight.points import is_text
from tsdb.flight.requests import Put
from tsdb.model import authorization
from tsdb.model.draft import check_name
from tsdb.model.schema import (
    HIDDEN_COLUMNS,
    LINE_PROTOCOL_TIME,
    AddColumn,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    Database,
    Role,
    SchemaChange,
    Series,
)
from tsdb.model.store import Store
from tsdb.sql import storage_form
from tsdb.types import (
    BOOL,
    BYTEA,
    DATE,
    FLOAT8,
    INT8,
    INTERVAL,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UINT8,
    SqlType,
    array_of,
)

_ATTEMPTS = 16


def place(store: Store, put: Put, schema: pa.Schema, role: int, *, create_database: bool) -> tuple[Database, Series]:
    """The series that a stream's batches go to, with every column they need, made if it has to be. Blocks.

    Others may change the schema at the same moment, so this looks again until it holds still. Raises
    InsufficientPrivilege, UndefinedColumn, DuplicateColumn, DatatypeMismatch, FeatureNotSupported, WrongObjectType,
    InvalidName.
    """
    # A path with a separator in it would reach into other schemas.
    check_name(put.series, "series")
    check_names(schema, put)
    if put.database not in store.catalog.databases and not create_database:
        raise InvalidCatalogName(f'database "{put.database}" does not exist')
    for _ in range(_ATTEMPTS):
        database = store.catalog.databases.get(put.database)
        try:
            if database is None:
                wanted: tuple[SchemaChange, ...] = (CreateDatabase(put.database, if_not_exists=True),)
                permitted = authorization.permitted(store.catalog, role, wanted)
                store.check_creatable(put.database)
                store.change(*permitted)
                continue
            changes = missing(put, schema, database)
            if not changes:
                series = database.series[put.series]
                authorization.check_write(store.catalog, role, database, [series])
                return database, series
            permitted = authorization.permitted_by_write(store.catalog, role, changes)
            store.check_writable(database)
            store.change(*permitted)
        except (DuplicateTable, InvalidCatalogName, UndefinedTable):
            continue
    raise CannotConnectNow(f'the schema of database "{put.database}" keeps changing; try again')


def check_names(schema: pa.Schema, put: Put) -> None:
    seen: set[str] = set()
    for name in schema.names:
        if name in seen:
            raise DuplicateColumn(f'column "{name}" comes twice')
        seen.add(name)
    for name in (put.time, *put.tags):
        if name not in seen:
            what = "time" if name == put.time else "tag"
            raise UndefinedColumn(
                f'there is no column "{name}" for the {what}', detail=f"Columns are: {', '.join(schema.names)[:500]}."
            )
    if put.time in put.tags:
        raise DatatypeMismatch(f'column "{put.time}" is the time: it cannot be a tag')


def missing(put: Put, schema: pa.Schema, database: Database) -> tuple[SchemaChange, ...]:
    """The changes that give every column a place; () if none is needed."""
    series = database.series.get(put.series)
    relation = database.relation(put.series)
    if series is None and relation is not None:
        raise WrongObjectType(f'"{put.series}" is a {relation.object_kind}')
    if series is not None and series.definition is not None:
        raise WrongObjectType(f'"{put.series}" is a materialized view')
    if series is not None and series.reference:
        raise FeatureNotSupported(
            f'"{put.series}" is a reference table without a time', hint="Write to it with INSERT or COPY."
        )
    added = [_definition(field, put) for field in schema if _is_new(field, put, series)]
    if series is None:
        time = LINE_PROTOCOL_TIME
        if put.time not in HIDDEN_COLUMNS:
            time = ColumnDefinition(put.time, Role.TIME, TIMESTAMPTZ, not_null=True)
        return (CreateSeries(database.name, put.series, (time, *added), keyed=True, if_not_exists=True),)
    _check_tags(put, series)
    return tuple(AddColumn(database.name, put.series, column, if_not_exists=True) for column in added)


def _is_new(field: pa.Field, put: Put, series: Series | None) -> bool:
    if field.name == put.time or pa.types.is_null(field.type):
        return False
    return series is None or field.name not in series.by_name


def _check_tags(put: Put, series: Series) -> None:
    for name in put.tags:
        column = series.by_name.get(name)
        if column is not None and column.role is not Role.TAG:
            raise DatatypeMismatch(f'"{name}" is a field of "{series.name}", not a tag')


def _definition(field: pa.Field, put: Put) -> ColumnDefinition:
    values = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if field.name in put.tags:
        if not is_text(values):
            raise DatatypeMismatch(f'a tag is a text: column "{field.name}" is of type {values}')
        return ColumnDefinition(field.name, Role.TAG, TEXT)
    found = _sql_type(values)
    if found is None:
        raise DatatypeMismatch(f'column "{field.name}" is of type {field.type}, for which there is no type of a field')
    return ColumnDefinition(field.name, Role.FIELD, found[0], typmod=found[1])


def _sql_type(arrow: pa.DataType) -> tuple[SqlType, int] | None:
    """(type, type modifier) of a new field: for numbers and texts those that line protocol makes."""
    is_ = pa.types
    if is_.is_list(arrow) or is_.is_large_list(arrow) or is_.is_fixed_size_list(arrow):
        inner = _sql_type(arrow.value_type)
        return None if inner is None or inner[0].element is not None else (array_of(inner[0]), inner[1])
    if is_.is_timestamp(arrow):
        return (TIMESTAMP if arrow.tz is None else TIMESTAMPTZ), -1
    if is_.is_decimal(arrow):
        fits = arrow.precision <= storage_form.NUMERIC_PRECISION_MAX and arrow.scale >= 0
        return NUMERIC, storage_form.numeric_typmod(arrow.precision, arrow.scale) if fits else -1
    for belongs, sql_type in _TYPES:
        if belongs(arrow):
            return sql_type, -1
    return (TEXT, -1) if is_text(arrow) else None


_TYPES = (
    (pa.types.is_uint64, UINT8),
    (pa.types.is_integer, INT8),
    (pa.types.is_floating, FLOAT8),
    (pa.types.is_boolean, BOOL),
    (pa.types.is_date, DATE),
    (pa.types.is_time, TIME),
    (pa.types.is_duration, INTERVAL),
    (pa.types.is_interval, INTERVAL),
    (pa.types.is_binary, BYTEA),
    (pa.types.is_large_binary, BYTEA),
    (pa.types.is_fixed_size_binary, BYTEA),
)
