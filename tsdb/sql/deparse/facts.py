"""What PostgreSQL's own tables say about types and casts (pg_type, pg_cast), by OID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tsdb.sql.catalog import static
from tsdb.sql.deparse.nodes import Unprintable
from tsdb.types import BY_OID

BOOL, INT8, INT4, TEXT, FLOAT8, NUMERIC, UNKNOWN = 16, 20, 23, 25, 701, 1700, 705
INTERVAL, RECORD, ANY = 1186, 2249, 2276
_ANYELEMENT, _ANYARRAY, _ANYNONARRAY, _ANYENUM = 2283, 2277, 2776, 3500
ANYCOMPATIBLE, ANYCOMPATIBLEARRAY, ANYCOMPATIBLENONARRAY = 5077, 5078, 5079
ELEMENTS = (_ANYELEMENT, _ANYNONARRAY, _ANYENUM)
COMPATIBLE = (ANYCOMPATIBLE, ANYCOMPATIBLENONARRAY)
ARRAYS = (_ANYARRAY, ANYCOMPATIBLEARRAY)
# The database's own types are enumerated ones.
FIRST_OWN = 16384
POLYMORPHIC = (*ELEMENTS, *COMPATIBLE, *ARRAYS)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type's row. ``element``: of an array that is subscripted as one."""

    category: str
    preferred: bool
    element: int
    array: int


@cache
def _kinds() -> Mapping[int, Kind]:
    rows = static.values("pg_type", "oid", "typcategory", "typispreferred", "typelem", "typarray", "typlen")
    return {o: Kind(c, p, e if length == -1 else 0, a) for o, c, p, e, a, length in rows}


def kind(oid: int) -> Kind:
    """Raises Unprintable for what is no type here."""
    found = _kinds().get(oid)
    if found is not None:
        return found
    if oid >= FIRST_OWN:
        return Kind("E", False, 0, 0)
    raise Unprintable(f"type {oid}")


@cache
def _casts() -> Mapping[tuple[int, int], tuple[str, str]]:
    rows = static.values("pg_cast", "castsource", "casttarget", "castcontext", "castmethod")
    return {(source, target): (context, method) for source, target, context, method in rows}


@cache
def sizing() -> frozenset[int]:
    """Types whose values a modifier cuts by a function: casts from a type to itself."""
    return frozenset(source for source, target in _casts() if source == target)


_STRINGS = "S"


def pathway(source: int, target: int, *, explicit: bool) -> str | None:
    """How a value of one type becomes one of another: "same", "function", "relabel", "text", "array"; None: it does
    not (find_coercion_pathway). ``explicit`` also allows what an assignment does."""
    if source == target:
        return "same"
    found = _casts().get((source, target))
    if found is not None:
        context, method = found
        if context == "i" or explicit:
            return {"f": "function", "b": "relabel", "i": "text"}[method]
        return None
    if (given := kind(source).element) and (wanted := kind(target).element) and kind(target).category == "A":
        inner = pathway(given, wanted, explicit=explicit)
        return None if inner is None else "relabel" if inner in ("same", "relabel") else "array"
    if explicit and (kind(target).category == _STRINGS or kind(source).category == _STRINGS):
        return "text"
    return None


def fits(source: int, target: int) -> bool:
    """Whether an argument of one type may stand where another is declared (can_coerce_type, implicit)."""
    if source in (target, UNKNOWN) or target == ANY:
        return True
    if target in POLYMORPHIC:
        is_array = kind(source).category == "A"
        if target in ARRAYS:
            return is_array
        if target == _ANYENUM:
            return kind(source).category == "E"
        return not (target in (_ANYNONARRAY, ANYCOMPATIBLENONARRAY) and is_array)
    return pathway(source, target, explicit=False) is not None


def common(types: list[int]) -> int:
    """The type of CASE, COALESCE, VALUES, UNION … (select_common_type). Raises Unprintable."""
    known = [t for t in types if t != UNKNOWN]
    if not known:
        return TEXT
    chosen = known[0]
    for other in known[1:]:
        if other == chosen:
            continue
        if kind(other).category != kind(chosen).category:
            raise Unprintable("types of different categories")
        if not kind(chosen).preferred and fits(chosen, other) and not fits(other, chosen):
            chosen = other
    return chosen


def array_type(element: int) -> int:
    """The array's OID. Raises Unprintable."""
    found = kind(element).array or next((t.oid for t in BY_OID.values() if t.element and t.element.oid == element), 0)
    if not found:
        raise Unprintable(f"no array of {element}")
    return found
