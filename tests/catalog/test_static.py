"""The captured part of the catalog is what a PostgreSQL 15 says about itself."""

from __future__ import annotations

import psycopg
import pyarrow.parquet as pq
import pytest

from tests.fixtures.postgres import Connection
from tsdb.sql.catalog import capture, static

# Rows that depend on the machine or on how the cluster was made.
OF_THE_MACHINE = ("pg_collation", "pg_description")


@pytest.mark.postgres
def test_the_script_captures_what_is_shipped(postgres_15: Connection) -> None:
    for name, made in capture.capture(postgres_15.info.dsn).items():
        shipped = static.file(name)
        assert shipped is not None, name
        assert [(f.name, f.type) for f in made.schema] == [(f.name, f.type) for f in shipped.schema_arrow], name
        if name not in OF_THE_MACHINE:
            assert made.num_rows == shipped.metadata.num_rows, name


@pytest.mark.postgres
def test_what_is_written_reads_back(postgres_15: Connection, tmp_path_factory: pytest.TempPathFactory) -> None:
    tables = capture.capture(postgres_15.info.dsn)
    directory = tmp_path_factory.mktemp("captured")
    capture.write(tables, directory)
    for name in ("pg_type", "pg_proc", static.RELATIONS):
        read = pq.read_table(directory / f"{name}.parquet")
        assert read.replace_schema_metadata(None).equals(tables[name].replace_schema_metadata(None)), name


def test_all_relations_are_there_with_their_columns(ours: psycopg.Connection) -> None:
    found = static.relations()
    assert len([1 for schema, _ in found if schema == "pg_catalog"]) == 139
    assert len([1 for schema, _ in found if schema == "information_schema"]) == 69
    for (schema, name), relation in found.items():
        cursor = ours.execute(f'SELECT * FROM {schema}."{name}" LIMIT 5'.encode())
        assert cursor.description is not None
        described = [(c.name, c.type_code) for c in cursor.description]
        assert described == [(c.name, c.type.oid) for c in relation.columns], name
        assert cursor.pgresult is not None
        assert cursor.pgresult.ftable(0) == relation.oid


def test_the_files_are_small() -> None:
    sizes = [path.stat().st_size for path in (capture.shipped()).glob("*.parquet")]
    assert 20 < len(sizes) < 60
    assert sum(sizes) < 1_000_000
