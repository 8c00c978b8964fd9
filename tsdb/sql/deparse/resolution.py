"""Which operator or function a name with arguments means. Source: PostgreSQL 15, parse_func.c and parse_oper.c."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tsdb.sql.catalog import static
from tsdb.sql.catalog.own_functions import own_functions
from tsdb.sql.deparse import facts
from tsdb.sql.deparse.facts import ANY, UNKNOWN
from tsdb.sql.deparse.nodes import Unprintable


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function or an operator for some number of arguments; ``types`` are declared ones."""

    types: tuple[int, ...]
    result: int
    kind: str = "f"
    variadic: bool = False


@cache
def _operators() -> Mapping[str, Sequence[Candidate]]:
    found: dict[str, list[Candidate]] = {}
    for name, left, right, result in static.values("pg_operator", "oprname", "oprleft", "oprright", "oprresult"):
        found.setdefault(name, []).append(Candidate((left, right) if left else (right,), result))
    return found


@dataclass(frozen=True, slots=True)
class _Function:
    types: tuple[int, ...]
    result: int
    kind: str
    variadic: int
    defaults: int


@cache
def _functions() -> Mapping[str, Sequence[_Function]]:
    found: dict[str, list[_Function]] = {}
    columns = ("proname", "proargtypes", "prorettype", "prokind", "provariadic", "pronargdefaults")
    for name, types, result, kind, variadic, defaults in static.values("pg_proc", *columns):
        found.setdefault(name, []).append(_Function(tuple(types), result, kind, variadic, defaults))
    for own in own_functions():
        found.setdefault(own.name, []).append(_Function(own.types, own.result_type, own.kind, 0, own.defaults))
    return found


def is_function(name: str) -> bool:
    return name in _functions()


def _for_count(function: _Function, count: int) -> Candidate | None:
    """A function as one of so many arguments."""
    least = len(function.types) - function.defaults
    if function.variadic and count >= len(function.types):
        element = ANY if function.variadic == ANY else function.variadic
        fixed = function.types[:-1]
        return Candidate((*fixed, *([element] * (count - len(fixed)))), function.result, function.kind, True)
    if least <= count <= len(function.types):
        return Candidate(function.types[:count], function.result, function.kind)
    return None


def operator(name: str, given: Sequence[int]) -> Candidate:
    """Raises Unprintable."""
    candidates = [c for c in _operators().get(name, ()) if len(c.types) == len(given)]
    exact = tuple(given)
    if len(given) == 2 and UNKNOWN in given:
        known = given[0] if given[1] == UNKNOWN else given[1]
        exact = (known, known)
    return _chosen(name, candidates, given, exact)


def function(name: str, given: Sequence[int]) -> Candidate:
    """Raises Unprintable."""
    made = (_for_count(f, len(given)) for f in _functions().get(name, ()))
    return _chosen(name, [c for c in made if c is not None], given, tuple(given))


def _chosen(name: str, candidates: list[Candidate], given: Sequence[int], exact: tuple[int, ...]) -> Candidate:
    same = [c for c in candidates if c.types == exact]
    if same:
        return next((c for c in same if not c.variadic), same[0])
    fitting = [c for c in candidates if all(facts.fits(g, t) for g, t in zip(given, c.types, strict=True))]
    found = _narrowed(fitting, list(given)) if len(fitting) > 1 else fitting
    if len(found) != 1:
        raise Unprintable(f"{name}: {len(found)} candidates")
    return found[0]


def _best(candidates: list[Candidate], score: Callable[[Candidate], int]) -> list[Candidate]:
    scores = [score(c) for c in candidates]
    most = max(scores)
    return [c for c, s in zip(candidates, scores, strict=True) if s == most]


def _narrowed(candidates: list[Candidate], given: list[int]) -> list[Candidate]:
    """func_select_candidate."""
    known = [i for i, t in enumerate(given) if t != UNKNOWN]
    unknown = [i for i, t in enumerate(given) if t == UNKNOWN]
    left = _best(candidates, lambda c: sum(c.types[i] == given[i] for i in known))
    if len(left) == 1:
        return left

    def preferred(c: Candidate) -> int:
        return sum(c.types[i] == given[i] or _is_preferred(c.types[i], facts.kind(given[i]).category) for i in known)

    left = _best(left, preferred)
    if len(left) == 1 or not unknown:
        return left
    left = _by_category(left, unknown)
    if len(left) > 1 and known and len({given[i] for i in known}) == 1:
        kind = given[known[0]]
        alike = [c for c in left if all(facts.fits(kind, t) for t in c.types)]
        left = alike if len(alike) == 1 else left
    return left


def _is_preferred(oid: int, category: str) -> bool:
    kind = facts.kind(oid)
    return kind.preferred and kind.category == category


def _by_category(candidates: list[Candidate], unknown: list[int]) -> list[Candidate]:
    """Those that take strings, or what all of them take, where a literal without a type is."""
    wanted: dict[int, tuple[str, bool]] = {}
    for i in unknown:
        kinds = [facts.kind(c.types[i]) for c in candidates]
        categories = {k.category for k in kinds}
        if "S" in categories:
            category = "S"
        elif len(categories) == 1:
            category = categories.pop()
        else:
            return candidates
        wanted[i] = (category, any(k.preferred for k in kinds if k.category == category))

    def keeps(c: Candidate) -> bool:
        kinds = {i: facts.kind(c.types[i]) for i in unknown}
        return all(kinds[i].category == w and (not p or kinds[i].preferred) for i, (w, p) in wanted.items())

    return [c for c in candidates if keeps(c)] or candidates


def resolved(candidate: Candidate, given: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """The declared types and the result with polymorphic ones replaced (enforce_generic_type_consistency)."""
    pairs = list(zip(candidate.types, given, strict=True))
    arrays = [facts.kind(g).element for t, g in pairs if t == facts.ARRAYS[0] and g != UNKNOWN]
    elements = arrays + [g for t, g in pairs if t in facts.ELEMENTS and g != UNKNOWN]
    element = elements[0] if elements else facts.TEXT
    alike = [facts.kind(g).element for t, g in pairs if t == facts.ARRAYS[1] and g != UNKNOWN]
    alike += [g for t, g in pairs if t in facts.COMPATIBLE and g != UNKNOWN]
    compatible = facts.common(alike) if alike else facts.TEXT

    def plain(oid: int, own: int) -> int:
        if oid == ANY:
            return own
        if oid in facts.ELEMENTS:
            return element
        if oid in facts.COMPATIBLE:
            return compatible
        if oid in facts.ARRAYS:
            return facts.array_type(element if oid == facts.ARRAYS[0] else compatible)
        return oid

    return tuple(plain(t, g) for t, g in pairs), plain(candidate.result, candidate.result)
