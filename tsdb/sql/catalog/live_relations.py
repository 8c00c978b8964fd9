"""Live rows of pg_class and what hangs on it: columns, indexes, constraints, defaults, comments, sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tsdb import __version__
from tsdb.model import privileges
from tsdb.model.acks import text_of
from tsdb.model.catalog import Series
from tsdb.model.relations import SqlSequence, SqlView
from tsdb.model.roles import FIRST
from tsdb.sql.catalog import definitions, oids, own_functions, own_views, sizes
from tsdb.sql.catalog.live import Fresh, Glance, live
from tsdb.sql.catalog.outline import Attribute, ConstraintEntry, Entry, IndexEntry
from tsdb.types import SqlType

PG = "pg_catalog"
_ACCESS_METHODS = {"r": oids.HEAP, "m": oids.HEAP, "i": oids.BTREE}
_ALIGNMENT = {1: "c", 2: "s", 4: "i", 8: "d"}
_BY_VALUE = (1, 2, 4, 8)
_MAIN = ("numeric", "inet", "cidr")
_COLLATABLE = ("text", "varchar", "bpchar")
_NO_STATISTICS = -1.0


def _acl(entry: Entry, glance: Glance) -> list[str] | None:
    return None if entry.kind == "i" else privileges.acl(glance.outline.catalog.roles, entry.model)


def _options(entry: Entry, glance: Glance) -> list[str] | None:
    model = entry.model
    if not isinstance(model, Series) or entry.kind != "r":
        return None
    found = []
    if model.retention_ns is not None:
        found.append(f"retention={model.retention_ns // 1_000_000_000}s")
    if model.acks is not None:
        found.append(f"acks={text_of(model.acks)}")
    if model.slots:
        found.append(f"slots={1 << model.slots[-1].bits}")
    return found or None


def _persistence(entry: Entry, glance: Glance) -> str:
    return "t" if oids.is_temporary(entry.namespace) else "p"


@live(PG, "pg_class", {
    "oid": lambda e, m: e.oid, "relname": lambda e, m: e.name, "relnamespace": lambda e, m: e.namespace,
    "reltype": lambda e, m: e.row_type, "relowner": lambda e, m: e.owner,
    "relam": lambda e, m: _ACCESS_METHODS.get(e.kind, 0),
    "relfilenode": lambda e, m: 0 if e.kind == "v" else e.oid,
    "relpages": Fresh(lambda e, m: sizes.bytes_of(m, e) // sizes.PAGE_BYTES),
    "reltuples": Fresh(lambda e, m: sizes.rows_of(m, e)),
    "relhasindex": lambda e, m: e.has_index, "relpersistence": _persistence, "relkind": lambda e, m: e.kind,
    "relnatts": lambda e, m: 3 if e.kind == "S" else len(e.attributes), "relchecks": lambda e, m: e.checks,
    "relhastriggers": lambda e, m: e.oid in m.outline.with_triggers, "relhasrules": lambda e, m: e.kind in "vm",
    "relispopulated": lambda e, m: not isinstance(e.model, Series) or e.model.populated,
    "relreplident": lambda e, m: "d" if e.kind in "rm" else "n", "relacl": _acl, "reloptions": _options,
})  # fmt: skip
def classes(glance: Glance) -> Sequence[Entry]:
    return glance.outline.relations


def _attribute_collation(a: Attribute, glance: Glance) -> int:
    return collation(a.type)


def collation(sql_type: SqlType) -> int:
    """The collation of a type: the database's own for texts, C for names."""
    plain = (sql_type.element or sql_type).typname
    return oids.DEFAULT_COLLATION if plain in _COLLATABLE else 950 if plain == "name" else 0


@live(PG, "pg_attribute", {
    "attrelid": lambda a, m: a.relation, "attname": lambda a, m: a.name, "atttypid": lambda a, m: a.type.oid,
    "attstattarget": -1, "attlen": lambda a, m: a.type.size, "attnum": lambda a, m: a.number,
    "attndims": lambda a, m: int(a.type.element is not None), "attcacheoff": -1,
    "atttypmod": lambda a, m: a.typmod, "attbyval": lambda a, m: a.type.size in _BY_VALUE,
    "attalign": lambda a, m: _ALIGNMENT.get(a.type.size, "i"),
    "attstorage": lambda a, m: "p" if a.type.size > 0 else "m" if a.type.typname in _MAIN else "x",
    "attcompression": "", "attnotnull": lambda a, m: a.not_null, "atthasdef": lambda a, m: a.default is not None,
    "attidentity": lambda a, m: a.identity, "attgenerated": "", "attislocal": True,
    "attcollation": _attribute_collation,
})  # fmt: skip
def attributes(glance: Glance) -> Sequence[Attribute]:
    return glance.outline.attributes


@live(PG, "pg_attrdef", {
    "oid": lambda a, m: a.default_oid, "adrelid": lambda a, m: a.relation, "adnum": lambda a, m: a.number,
    "adbin": lambda a, m: definitions.default_text(m, a),
})  # fmt: skip
def defaults(glance: Glance) -> Sequence[Attribute]:
    return [a for a in glance.outline.attributes if a.default is not None]


def _operator_class(i: IndexEntry, number: int) -> int:
    typname = i.table.attributes[number - 1].type.typname if number else "text"
    return definitions.operator_class(typname)


def _option(i: IndexEntry, position: int) -> int:
    key = i.keys[position] if position < len(i.keys) else None
    return 0 if key is None else int(key.descending) + 2 * int(key.nulls_first)


@live(PG, "pg_index", {
    "indexrelid": lambda i, m: i.oid, "indrelid": lambda i, m: i.table.oid,
    "indnatts": lambda i, m: len(i.columns) + len(i.included), "indnkeyatts": lambda i, m: len(i.columns),
    "indisunique": lambda i, m: i.unique, "indisprimary": lambda i, m: i.primary, "indimmediate": True,
    "indnullsnotdistinct": lambda i, m: i.nulls_equal, "indisvalid": True, "indisready": True, "indislive": True,
    "indkey": lambda i, m: [*i.columns, *i.included],
    "indcollation": lambda i, m: [collation(i.table.attributes[n - 1].type) if n else 0 for n in i.columns],
    "indclass": lambda i, m: [_operator_class(i, n) for n in i.columns],
    "indoption": lambda i, m: [_option(i, k) for k in range(len(i.columns))],
    "indexprs": lambda i, m: definitions.index_expressions(m, i),
    "indpred": lambda i, m: definitions.index_predicate(m, i) if i.where else None,
})  # fmt: skip
def indexes(glance: Glance) -> Sequence[IndexEntry]:
    return glance.outline.indexes


def _letter(name: str, other: str) -> Any:
    return lambda c, m: getattr(c.model, name) if c.kind == "f" else other


@live(PG, "pg_constraint", {
    "oid": lambda c, m: c.oid, "conname": lambda c, m: c.name, "connamespace": lambda c, m: c.table.namespace,
    "contype": lambda c, m: c.kind, "convalidated": lambda c, m: c.validated, "conrelid": lambda c, m: c.table.oid,
    "conindid": lambda c, m: c.index, "confrelid": lambda c, m: c.references,
    "confupdtype": _letter("on_update", " "), "confdeltype": _letter("on_delete", " "),
    "confmatchtype": _letter("match", " "), "conislocal": True, "connoinherit": lambda c, m: c.kind != "c",
    "conkey": lambda c, m: list(c.columns), "confkey": lambda c, m: list(c.reference_columns) or None,
    "conbin": lambda c, m: definitions.check_text(m, c) if c.kind == "c" else None,
})  # fmt: skip
def constraints(glance: Glance) -> Sequence[ConstraintEntry]:
    return glance.outline.constraints


@dataclass(frozen=True, slots=True)
class Comment:
    of: int
    catalog: int
    part: int
    text: str


def comments(glance: Glance) -> Iterator[Comment]:
    outline = glance.outline
    for e in outline.relations:
        if e.comment is not None:
            yield Comment(e.oid, oids.PG_CLASS, 0, e.comment)
        for a in e.attributes:
            if a.comment is not None:
                yield Comment(e.oid, oids.PG_CLASS, a.number, a.comment)
    for n in outline.database.namespaces.values():
        if n.comment is not None:
            yield Comment(outline.namespaces[n.name], oids.PG_NAMESPACE, 0, n.comment)
    for t in outline.database.types.values():
        if t.comment is not None:
            yield Comment(oids.of(t.number), oids.PG_TYPE, 0, t.comment)
    for c in outline.constraints:
        if c.model is not None and c.model.comment is not None:
            yield Comment(c.oid, oids.PG_CONSTRAINT, 0, c.model.comment)


@live(PG, "pg_description", {
    "objoid": lambda c, m: c.of, "classoid": lambda c, m: c.catalog, "objsubid": lambda c, m: c.part,
    "description": lambda c, m: c.text,
})  # fmt: skip
def descriptions(glance: Glance) -> Sequence[Comment]:
    return list(comments(glance))


def _sequence_type(e: Entry, m: Glance) -> int:
    assert isinstance(e.model, SqlSequence)
    return e.model.options.type.oid


def sequences_of(glance: Glance) -> list[Entry]:
    return [e for e in glance.outline.tables if e.kind == "S"]


@live(PG, "pg_sequence", {
    "seqrelid": lambda e, m: e.oid, "seqtypid": _sequence_type, "seqstart": lambda e, m: e.model.options.start,
    "seqincrement": lambda e, m: e.model.options.increment, "seqmax": lambda e, m: e.model.options.maximum,
    "seqmin": lambda e, m: e.model.options.minimum, "seqcache": 1, "seqcycle": lambda e, m: e.model.options.cycle,
})  # fmt: skip
def sequences(glance: Glance) -> Sequence[Entry]:
    return sequences_of(glance)


@live(PG, "pg_rewrite", {
    "oid": lambda e, m: _rule(e), "rulename": "_RETURN", "ev_class": lambda e, m: e.oid,
    "ev_type": "1", "ev_enabled": "O", "is_instead": True, "ev_qual": "<>", "ev_action": "<>",
})  # fmt: skip
def rules(glance: Glance) -> Sequence[Entry]:
    return [e for e in glance.outline.tables if e.kind in "vm"]


def _rule(entry: Entry) -> int:
    """The OID of the rule that a view, or a materialized one, is in PostgreSQL."""
    assert isinstance(entry.model, SqlView | Series)
    return oids.rule(entry.model.identity if isinstance(entry.model, Series) else entry.model.number)


@dataclass(frozen=True, slots=True)
class Dependency:
    catalog: int
    of: int
    part: int
    referred_catalog: int
    referred: int
    referred_part: int
    kind: str


def _dependencies(glance: Glance) -> Iterator[Dependency]:
    outline = glance.outline
    for i in outline.indexes:
        if i.constraint:
            found = next(c for c in outline.constraints if c.index == i.oid)
            yield Dependency(oids.PG_CLASS, i.oid, 0, oids.PG_CONSTRAINT, found.oid, 0, "i")
        else:
            for number in i.columns:
                yield Dependency(oids.PG_CLASS, i.oid, 0, oids.PG_CLASS, i.table.oid, number, "a")
    for a in outline.attributes:
        if a.default is not None:
            yield Dependency(oids.PG_ATTRDEF, a.default_oid, 0, oids.PG_CLASS, a.relation, a.number, "a")
        if a.sequence:
            yield Dependency(oids.PG_ATTRDEF, a.default_oid, 0, oids.PG_CLASS, a.sequence, 0, "n")
    for e in outline.tables:
        model = e.model
        if isinstance(model, SqlSequence) and model.series:
            table = outline.database.by_identity.get(model.series)
            if isinstance(table, Series):
                at = next((k + 1 for k, c in enumerate(table.columns) if c.number == model.column), 0)
                identity = "i" if at and table.columns[at - 1].identity else "a"
                yield Dependency(oids.PG_CLASS, e.oid, 0, oids.PG_CLASS, oids.of(model.series), at, identity)
        elif isinstance(model, SqlView | Series) and model.definition is not None:
            yield Dependency(oids.PG_REWRITE, _rule(e), 0, oids.PG_CLASS, e.oid, 0, "i")
            for use in model.definition.uses:
                yield Dependency(oids.PG_REWRITE, _rule(e), 0, oids.PG_CLASS, oids.of(use.relation), 0, "n")


@live(PG, "pg_depend", {
    "classid": lambda d, m: d.catalog, "objid": lambda d, m: d.of, "objsubid": lambda d, m: d.part,
    "refclassid": lambda d, m: d.referred_catalog, "refobjid": lambda d, m: d.referred,
    "refobjsubid": lambda d, m: d.referred_part, "deptype": lambda d, m: d.kind,
})  # fmt: skip
def dependencies(glance: Glance) -> Sequence[Dependency]:
    return [*_dependencies(glance), *_members()]


def _members() -> Iterator[Dependency]:
    """What the extension ``tsdb`` consists of: tools that write a database down leave it out."""
    members = [
        (oids.PG_NAMESPACE, oids.of(own_views.namespace().number)),
        *((oids.PG_CLASS, oids.of(view.number)) for view in own_views.views()),
        *((oids.PG_PROC, function.oid) for function in own_functions.own_functions()),
    ]
    for catalog, oid in members:
        yield Dependency(catalog, oid, 0, oids.PG_EXTENSION, own_views.extension(), 0, "e")


def _own_privileges(member: tuple[int, int, Any], glance: Glance) -> list[str] | None:
    return privileges.acl(glance.outline.catalog.roles, member[2])


@live(PG, "pg_init_privs", {
    "objoid": lambda p, m: p[1], "classoid": lambda p, m: p[0], "objsubid": 0, "privtype": "e",
    "initprivs": _own_privileges,
})  # fmt: skip
def first_privileges(glance: Glance) -> Sequence[tuple[int, int, Any]]:
    """What everybody was given by the extension; only later changes are the database's own."""
    schema = own_views.namespace()
    views = [(oids.PG_CLASS, oids.of(view.number), view) for view in own_views.views()]
    return [(oids.PG_NAMESPACE, oids.of(schema.number), schema), *views]


@live(PG, "pg_extension", {
    "oid": own_views.extension(), "extname": own_views.SCHEMA, "extowner": FIRST,
    "extnamespace": oids.of(own_views.namespace().number), "extversion": __version__, "extconfig": None,
    "extcondition": None,
})  # fmt: skip
def extensions(glance: Glance) -> Sequence[int]:
    return (0,)
