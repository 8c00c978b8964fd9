"""What answers the questions that ``signatures`` asks: each a function of the glance, two numbers and a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tsdb.errors import InvalidParameterValue
from tsdb.model.privileges import LETTERS, ON_DATABASE, Privilege, privileges_of
from tsdb.model.relations import PUBLIC, SqlSequence
from tsdb.model.roles import FIRST
from tsdb.sql.catalog import definitions, described, names, oids, sizes, static, type_texts
from tsdb.sql.catalog.calls import ANSWERS, Answer
from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.live_databases import TEMPLATES, database_oid, databases
from tsdb.sql.catalog.live_relations import comments
from tsdb.sql.catalog.live_views import total_bytes
from tsdb.sql.catalog.outline import qualified
from tsdb.sql.catalog.server_start import STARTED_US
from tsdb.types import REFERENCES


def answers(question: str) -> Callable[[Answer], Answer]:
    def register(answer: Answer) -> Answer:
        ANSWERS[question] = answer
        return answer

    return register


# --- names ---


def _about(kind: str) -> None:
    """The three questions about a reg* type."""
    ANSWERS[f"{kind} name"] = lambda m, a, b, t: None if a is None else names.name(kind, m.outline, a)
    ANSWERS[f"{kind} number"] = lambda m, a, b, t: None if t is None else names.number(kind, m.outline, t)
    ANSWERS[f"to {kind}"] = lambda m, a, b, t: None if t is None else names.number_or_none(kind, m.outline, t)


for _kind in (*(t.typname for t in REFERENCES), "language", "tablespace"):
    _about(_kind)


ANSWERS["temporary schema"] = lambda m, a, b, t: m.outline.own_temporary
ANSWERS["is temporary for others"] = lambda m, a, b, t: (
    None if a is None else oids.is_temporary(a) and a != m.outline.own_temporary
)
ANSWERS["describe"] = lambda m, a, b, t: described.describe(m, a, b, t)


@answers("format_type")
def _format_type(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    return type_texts.format_type(m, a, b)


@answers("owner")
def _owner(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    return None if a is None else m.role_name(a)


# --- definitions ---

ANSWERS["index"] = lambda m, a, b, t: definitions.index_definition(m, a, b, short=t is not None)
ANSWERS["constraint"] = lambda m, a, b, t: definitions.constraint_definition(m, a, pretty=t is not None)
ANSWERS["view"] = lambda m, a, b, t: definitions.view_definition(m, a, pretty=t is not None)
ANSWERS["view by name"] = lambda m, a, b, t: definitions.view_definition(
    m, names.number("regclass", m.outline, t or ""), pretty=bool(a)
)
ANSWERS["pretty expression"] = lambda m, a, b, t: definitions.pretty_expression(m, t, a)
ANSWERS["function"] = lambda m, a, b, t: definitions.function_definition(a)
ANSWERS["function part"] = lambda m, a, b, t: definitions.function_text(a, b or 0)


@answers("sequence of")
def _sequence_of(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    """pg_get_serial_sequence: table and column come with U+001F between them."""
    if t is None:
        return None
    table, _, column = t.partition("\x1f")
    entry = m.outline.by_oid.get(names.number("regclass", m.outline, table))
    if entry is None:
        return None
    for s in m.outline.database.sequences.values():
        if isinstance(s, SqlSequence) and s.series and oids.of(s.series) == entry.oid:
            place = next((x for x in entry.model.columns if getattr(x, "number", 0) == s.column), None)  # type: ignore[union-attr]
            if place is not None and place.name == column:
                return f"{s.schema}.{qualified('public', s.name)}"
    return None


# --- comments ---


def _captured_comments() -> Mapping[tuple[int, int, int], str]:
    rows = static.values("pg_description", "objoid", "classoid", "objsubid", "description")
    return {(of, catalog, part): text for of, catalog, part, text in rows}


def _comments(m: Glance) -> Mapping[tuple[int, int, int], str]:
    kept = m.outline.kept
    key = ("", "comments")
    if key not in kept:
        kept[key] = {**_captured_comments(), **{(c.of, c.catalog, c.part): c.text for c in comments(m)}}
    found: Mapping[tuple[int, int, int], str] = kept[key]
    return found


@answers("comment")
def _comment(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    """obj_description(oid, catalog); without the catalog any comment on the OID."""
    if a is None:
        return None
    if t is None:
        return next((text for (of, _, part), text in _comments(m).items() if of == a and not part), None)
    return _comments(m).get((a, m.outline.by_name.get((oids.PG_CATALOG, t), 0), 0))


@answers("column comment")
def _column_comment(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    return _comments(m).get((a or 0, oids.PG_CLASS, b or 0)) if b else None


@answers("shared comment")
def _shared_comment(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    found = (d for d in databases(m) if database_oid(d) == a)
    return next((d.comment for d in found), None) if t == "pg_database" else None


# --- visibility: what the search path finds ---


@answers("relation is visible")
def _relation_is_visible(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    return names.relation_is_visible(m.outline, a or 0)


@answers("type is visible")
def _type_is_visible(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    return names.type_is_visible(m.outline, a or 0)


# --- sizes ---


@answers("size")
def _size(m: Glance, a: int | None, b: int | None, t: str | None) -> int | None:
    return None if a is None else total_bytes(m, a)


@answers("database size")
def _database_size(m: Glance, a: int | None, b: int | None, t: str | None) -> int | None:
    number = _database_number(m, None, None, t) if a is None else a
    return None if number is None else sizes.database_bytes(m, number - oids.FIRST_OWN)


@answers("rows")
def _rows(m: Glance, a: int | None, b: int | None, t: str | None) -> int | None:
    """pg_stat_get_live_tuples."""
    entry = m.outline.by_oid.get(a or 0)
    return max(0, int(sizes.rows_of(m, entry))) if entry is not None else None if a is None else 0


ANSWERS["pretty"] = lambda m, a, b, t: None if a is None else sizes.pretty(a)


# --- privileges ---

_WORDS = {p.name: p for p in Privilege if p} | {"TEMP": Privilege.TEMPORARY}


def _wanted(text: str, *words: str) -> Privilege:
    """``SELECT, INSERT WITH GRANT OPTION``: any of them is enough, as PostgreSQL says; unknown words, or others than
    ``words``, are its error."""
    wanted = Privilege.NONE
    for word in text.split(","):
        plain = re.sub(r"\s+WITH\s+GRANT\s+OPTION$", "", word.strip().upper())
        if (plain not in _WORDS and plain != "USAGE") or (words and plain not in words):
            raise InvalidParameterValue(f'unrecognized privilege type: "{word.strip()[:50]}"')
        wanted |= _WORDS.get(plain, Privilege.SELECT)
    return wanted


@answers("may use relation")
def _may_use_relation(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    """a: the relation, b: the role or NULL for one's own, t: the privileges."""
    if a is None or t is None:
        return None
    entry = m.outline.by_oid.get(a)
    wanted = _wanted(t)
    if entry is None:
        return bool(wanted & Privilege.SELECT) if a in m.outline.names else None
    role = m.context.role if b is None else b
    return bool(privileges_of(m.outline.catalog.roles, role, entry.model) & wanted)


@answers("may use database")
def _may_use_database(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    if a is None or t is None:
        return None
    database = m.outline.catalog.databases_by_number.get(a - oids.FIRST_OWN)
    role = m.context.role if b is None else b
    if a in {template.number for template in TEMPLATES}:
        wanted, mine = _wanted(t), m.outline.catalog.roles.has_rights_of(role, FIRST)
        return bool(wanted & (ON_DATABASE if mine else Privilege.CONNECT))
    return None if database is None else bool(privileges_of(m.outline.catalog.roles, role, database) & _wanted(t))


@answers("may use schema")
def _may_use_schema(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    """CREATE on the schema public is CREATE on the database; everybody may use it and the system's own."""
    name = None if a is None or t is None else m.outline.namespace_names.get(a)
    if name is None or t is None:
        return None
    wanted = _wanted(t, "CREATE", "USAGE")
    role, roles = (m.context.role if b is None else b), m.outline.catalog.roles
    namespace = m.outline.database.namespaces.get(name)
    if namespace is not None and name != PUBLIC:
        return bool(privileges_of(roles, role, namespace) & wanted)
    if wanted & Privilege.USAGE:
        return True
    if name == PUBLIC:
        return bool(privileges_of(roles, role, m.outline.database) & wanted & Privilege.CREATE)
    return roles.has_rights_of(role, FIRST)


@answers("may call")
def _may_call(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    everybody = None if a is None or t is None else definitions.everybody_may_call(a)
    if everybody is None or t is None:
        return None
    plain = re.sub(r"\s+WITH\s+GRANT\s+OPTION$", "", t.strip().upper())
    if plain != "EXECUTE":
        raise InvalidParameterValue(f'unrecognized privilege type: "{t.strip()[:50]}"')
    role = m.context.role if b is None else b
    return everybody or m.outline.catalog.roles.has_rights_of(role, FIRST)


def _plain_privilege(t: str, wanted: str) -> None:
    for word in t.split(","):
        if re.sub(r"\s+WITH\s+GRANT\s+OPTION$", "", word.strip().upper()) != wanted:
            raise InvalidParameterValue(f'unrecognized privilege type: "{word.strip()[:50]}"')


@answers("may use type")
def _may_use_type(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    """Everybody may use every type and language: nobody can take that away."""
    if a is None or t is None:
        return None
    _plain_privilege(t, "USAGE")
    return True if names.known("regtype", m.outline, a) else None


@answers("may use language")
def _may_use_language(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    if a is None or t is None:
        return None
    _plain_privilege(t, "USAGE")
    return True if names.known("language", m.outline, a) else None


@answers("may use tablespace")
def _may_use_tablespace(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    """The tablespaces are the superusers'."""
    if a is None or t is None:
        return None
    _plain_privilege(t, "CREATE")
    role = m.context.role if b is None else b
    known = names.known("tablespace", m.outline, a)
    return m.outline.catalog.roles.has_rights_of(role, FIRST) if known else None


@answers("explode acl")
def _explode_acl(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    """Items with U+001F between them to rows of grantor, grantee, privilege, grantable; U+001E between the four."""
    if t is None:
        return None
    rows = []
    for item in filter(None, t.split("\x1f")):
        grantee, _, rest = item.rpartition("=")
        letters, _, grantor = rest.partition("/")
        numbers = [names.number("regrole", m.outline, grantor), names.number("regrole", m.outline, grantee or "-")]
        for letter, star in re.findall(r"([a-zA-Z])(\*?)", letters):
            rows.append(f"{numbers[0]}\x1e{numbers[1]}\x1e{LETTERS[letter]}\x1e{'true' if star else 'false'}")
    return "\x1f".join(rows)


@answers("database number")
def _database_number(m: Glance, a: int | None, b: int | None, t: str | None) -> int | None:
    template = next((each.number for each in TEMPLATES if each.name == t), None)
    return None if t is None else template or oids.database(m.outline.catalog.find(t).number)


@answers("has role")
def _has_role(m: Glance, a: int | None, b: int | None, t: str | None) -> bool | None:
    role = m.context.role if b is None else b
    return None if a is None else m.outline.catalog.roles.is_member(role, a)


# --- of the server ---

ANSWERS["start"] = lambda m, a, b, t: STARTED_US
ANSWERS["catalog version"] = lambda m, a, b, t: m.outline.catalog.version


# What PostgreSQL grants at first, to everybody and to the owner, by the object's kind (acldefault in acl.c).
_DEFAULT_ACL = {
    "c": ("", ""), "r": ("", "arwdDxt"), "s": ("", "rwU"), "d": ("Tc", "CTc"), "f": ("X", "X"), "l": ("U", "U"),
    "L": ("", "rw"), "n": ("", "UC"), "p": ("", "sA"), "t": ("", "C"), "F": ("", "U"), "S": ("", "U"), "T": ("U", "U"),
}  # fmt: skip


@answers("default acl")
def _default_acl(m: Glance, a: int | None, b: int | None, t: str | None) -> str | None:
    """With U+001F between the items."""
    if a is None or t is None:
        return None
    if t not in _DEFAULT_ACL:
        raise InvalidParameterValue(f'unrecognized object type abbreviation: "{t}"')
    everybody, own = _DEFAULT_ACL[t]
    owner = names.name("regrole", m.outline, a)
    items = [f"={everybody}/{owner}"] if everybody else []
    return "\x1f".join([*items, f"{owner}={own}/{owner}"] if own else items)
