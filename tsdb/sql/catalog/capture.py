"""Captures the static part of the catalog from a running PostgreSQL 15 that has no tables of its own.

    python -m tsdb.sql.catalog.capture "host=127.0.0.1 user=postgres dbname=postgres" [directory]

writes the Parquet files that ``static`` reads. The server must be a fresh one of Debian's postgresql-15. What is left
out: plans of views and functions, statistics, dependencies, indexes of the catalog itself, collations of the machine,
and PL/pgSQL, which is not here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from tsdb.sql.catalog.static import DIRECTORY, FORMAT, FORMAT_KEY, KEYWORDS, RELATIONS
from tsdb.types import BY_OID, REFERENCES, SqlType

_SCHEMAS = "('pg_catalog', 'information_schema')"
_OURS = f"relkind IN ('r', 'v') AND relnamespace::regnamespace::text IN {_SCHEMAS}"

# Base types in place of domains, as a row description has them.
_RELATIONS = f"""
    SELECT n.nspname AS schema, c.relname AS name, c.oid::int8 AS oid, c.relkind::text AS kind, a.attname AS column,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END::int8 AS type,
           CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS typmod, a.attnum::int4 AS number
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
         JOIN pg_type t ON t.oid = a.atttypid
    WHERE {_OURS} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2, a.attnum"""

# Which rows of which relations. Columns named in _EMPTY come as NULL.
_WHERE = {
    "pg_aggregate": "true",
    "pg_am": "true",
    "pg_amop": "true",
    "pg_amproc": "true",
    "pg_attribute": f"attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE {_OURS})",
    "pg_cast": "true",
    "pg_class": _OURS,
    "pg_collation": "collname IN ('default', 'C', 'POSIX', 'ucs_basic', 'unicode', 'C.UTF-8') AND collprovider <> 'i'",
    "pg_constraint": "contype = 'c'",
    "pg_conversion": "true",
    "pg_depend": "deptype = 'e'",
    "pg_description": f"classoid <> 'pg_class'::regclass OR objoid IN (SELECT oid FROM pg_class WHERE {_OURS})",
    "pg_extension": "true",
    "pg_language": "true",
    "pg_namespace": "nspname NOT LIKE 'pg_temp%' AND nspname NOT LIKE 'pg_toast_temp%'",
    "pg_opclass": "true",
    "pg_operator": "true",
    "pg_opfamily": "true",
    "pg_proc": "true",
    "pg_range": "true",
    "pg_tablespace": "true",
    "pg_ts_config": "true",
    "pg_ts_config_map": "true",
    "pg_ts_dict": "true",
    "pg_ts_parser": "true",
    "pg_ts_template": "true",
    "pg_type": f"oid < 16384 AND (typrelid = 0 OR typrelid IN (SELECT oid FROM pg_class WHERE {_OURS}))",
    "pg_tables": f"schemaname IN {_SCHEMAS}",
    "pg_views": f"schemaname IN {_SCHEMAS}",
    "information_schema.columns": f"table_schema IN {_SCHEMAS}",
    "information_schema.sql_features": "true",
    "information_schema.sql_implementation_info": "true",
    "information_schema.sql_parts": "true",
    "information_schema.sql_sizing": "true",
    "information_schema.tables": f"table_schema IN {_SCHEMAS}",
    "information_schema.views": f"table_schema IN {_SCHEMAS}",
}
_EMPTY = {
    "pg_proc": {"proargdefaults", "prosqlbody", "probin", "proacl"},
    "pg_attribute": {"attacl"},
    "pg_class": {"relacl"},
    # The database and the first role have other names elsewhere: ``relations`` fills them in.
    "pg_tables": {"tableowner"},
    "pg_views": {"viewowner"},
    "information_schema.columns": {"table_catalog", "collation_catalog", "domain_catalog", "udt_catalog"},
    "information_schema.tables": {"table_catalog"},
    "information_schema.views": {"table_catalog"},
}
# Columns that only some rows keep: the others' values name the cluster's first role.
_KEPT = {("pg_namespace", "nspacl"): "CASE WHEN nspname = 'public' THEN nspacl::text[] END"}
_ORDER = {
    "pg_tables": "schemaname, tablename", "pg_views": "schemaname, viewname",
    "information_schema.columns": "table_schema, table_name, ordinal_position",
    "information_schema.tables": "table_schema, table_name", "information_schema.views": "table_schema, table_name",
}  # fmt: skip

# What pg_get_function_*() say, which needs the parser's trees.
_MORE = {
    "pg_proc": {
        "+arguments": "pg_get_function_arguments(oid)",
        "+identity_arguments": "pg_get_function_identity_arguments(oid)",
        "+result": "pg_get_function_result(oid)",
        "+everybody": "has_function_privilege('public', oid, 'EXECUTE')::text",
    }
}
_KEYWORDS = "word, catcode::text, barelabel, catdesc, baredesc"
_VIEW_BODIES = "SELECT oid::int8 AS oid, pg_get_viewdef(oid) AS definition FROM pg_class WHERE relkind = 'v' AND "


def _expression(name: str, sql_type: SqlType) -> str:
    """A column in a form that psycopg reads as what Arrow wants."""
    quoted = f'"{name}"'
    element = sql_type.element
    if sql_type.vector:
        kind = "int2" if sql_type.typname == "int2vector" else "oid"
        return f"string_to_array({quoted}::text, ' ')::{kind}[]"
    if element is not None:
        return f"{quoted}::{'oid' if element in REFERENCES else 'text' if _textual(element) else element.typname}[]"
    if sql_type in REFERENCES:
        return f"{quoted}::oid"
    return f"{quoted}::text" if _textual(sql_type) or sql_type.typname in ("xid", "cid") else quoted


def _textual(sql_type: SqlType) -> bool:
    return bool(sql_type.arrow == pa.string())


def _array(values: list[Any], sql_type: SqlType) -> pa.Array:
    if sql_type.typname in ("xid", "cid"):
        values = [None if v is None else int(v) for v in values]
    return pa.array(values, sql_type.arrow)


def _captured(connection: psycopg.Connection[tuple[Any, ...]], name: str, where: str) -> pa.Table:
    schema, _, relation = name.rpartition(".")
    schema = schema or "pg_catalog"
    rows = connection.execute(f"SELECT * FROM ({_RELATIONS}) r WHERE schema = '{schema}' AND name = '{relation}'")
    columns = [(row[4], BY_OID[row[5]]) for row in rows.fetchall()]
    more = _MORE.get(name, {})
    empty = _EMPTY.get(name, set())
    texts = ["NULL" if c in empty else _KEPT.get((name, c)) or _expression(c, t) for c, t in columns]
    texts += list(more.values())
    # As they lie in the table: what has no ORDER BY comes in that order from PostgreSQL, too.
    order = _ORDER.get(name, "ctid")
    values = connection.execute(f"SELECT {', '.join(texts)} FROM {schema}.{relation} WHERE {where} ORDER BY {order}")
    made = list(zip(*values.fetchall(), strict=True))
    arrays = [
        pa.nulls(len(made[0]), t.arrow) if c in empty else _array(list(v), t)
        for (c, t), v in zip(columns, made, strict=False)
    ]
    arrays += [pa.array(v, pa.string()) for v in made[len(columns) :]]
    return pa.table(arrays, names=[*(c for c, _ in columns), *more])


def _rows(connection: psycopg.Connection[tuple[Any, ...]], sql: str) -> pa.Table:
    cursor = connection.execute(sql)
    assert cursor.description is not None
    names = [c.name for c in cursor.description]
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


def capture(conninfo: str) -> dict[str, pa.Table]:
    """All files' tables by name."""
    with psycopg.connect(conninfo, autocommit=True, options="-c timezone=UTC") as connection:
        assert connection.info.server_version // 10_000 == 15, "the server must be a PostgreSQL 15"
        tables = {RELATIONS: _rows(connection, _RELATIONS)}
        tables[KEYWORDS] = _rows(connection, f"SELECT {_KEYWORDS} FROM pg_get_keywords() ORDER BY 1")
        tables["view_definitions"] = _rows(connection, _VIEW_BODIES + _OURS)
        tables |= {name: _captured(connection, name, where) for name, where in _WHERE.items()}
    return tables


def write(tables: dict[str, pa.Table], directory: Path) -> None:
    """One Parquet file a table, with the format's version."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        versioned = table.replace_schema_metadata({FORMAT_KEY: str(FORMAT).encode()})
        pq.write_table(versioned, directory / f"{name}.parquet", compression="zstd", compression_level=19)


def shipped() -> Path:
    """Where the package has its own."""
    return Path(__file__).parent / DIRECTORY


def main() -> None:
    """The command line."""
    directory = Path(sys.argv[2]) if len(sys.argv) > 2 else shipped()
    tables = capture(sys.argv[1])
    write(tables, directory)
    size = sum(path.stat().st_size for path in directory.glob("*.parquet"))
    print(f"{len(tables)} files, {sum(t.num_rows for t in tables.values())} rows, {size} bytes in {directory}")


if __name__ == "__main__":
    main()
