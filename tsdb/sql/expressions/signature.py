"""Signatures of functions and operators, written one a line, and PostgreSQL's choice among them.

A line is ``name(type, type) result: template``; ``{0}`` stands for an argument's text. A last ``type...`` takes any
number, ``{*}`` is all arguments. Types are pg_type's names; ``any`` takes all, ``anyelement`` and ``anyarray`` follow
each other, ``anyenum`` is any enumerated type. A result ``numeric:6`` is a DECIMAL(38,6), ``numeric:@`` has the digits
of the numeric argument.

Source: PostgreSQL 15 manual, 10.2 (operators) and 10.3 (functions).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tsdb.errors import AmbiguousFunction
from tsdb.sql.expressions.coercion import category, implicit, preferred
from tsdb.sql.expressions.expression import Expr
from tsdb.types import BY_NAME, UNKNOWN, SqlType, array_of


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    arguments: tuple[str, ...]
    variadic: bool
    result: str
    template: str

    def accepts(self, count: int) -> bool:
        return count >= len(self.arguments) if self.variadic else count == len(self.arguments)

    def argument(self, index: int) -> str:
        return self.arguments[min(index, len(self.arguments) - 1)]


_LINE = re.compile(r"\s*(?P<name>\S+?)\((?P<args>[^)]*)\)\s+(?P<result>\S+):\s*(?P<template>.+?)\s*", re.DOTALL)


def read(lines: str) -> dict[str, tuple[Signature, ...]]:
    """Signatures by name; an indented line continues the one before."""
    found: dict[str, list[Signature]] = {}
    for line in re.sub(r"\n\s+", " ", lines.strip()).splitlines():
        if not line.strip() or line.startswith("# "):
            continue
        match = _LINE.fullmatch(line)
        assert match is not None, line
        arguments = tuple(a.strip() for a in match["args"].split(",") if a.strip())
        variadic = bool(arguments) and arguments[-1].endswith("...")
        arguments = tuple(a.removesuffix("...") for a in arguments)
        signature = Signature(match["name"], arguments, variadic, match["result"], match["template"])
        found.setdefault(match["name"], []).append(signature)
    return {name: tuple(signatures) for name, signatures in found.items()}


def merge(*tables: dict[str, tuple[Signature, ...]]) -> dict[str, tuple[Signature, ...]]:
    merged: dict[str, tuple[Signature, ...]] = {}
    for table in tables:
        for name, signatures in table.items():
            merged[name] = merged.get(name, ()) + signatures
    return merged


def _fits(wanted: str, given: SqlType) -> bool:
    if wanted in ("any", "anyelement"):
        return True
    if wanted == "anyarray":
        return given.element is not None or given is UNKNOWN
    if wanted == "anyenum":
        return given.labels is not None
    return implicit(given, BY_NAME[wanted])


def _exact(wanted: str, given: SqlType) -> bool:
    if wanted == "anyarray":
        return given.element is not None
    if wanted in ("any", "anyelement"):
        return given is not UNKNOWN
    if wanted == "anyenum":
        return given.labels is not None
    return BY_NAME[wanted].typname == given.typname


def choose(name: str, candidates: Iterable[Signature], args: Sequence[Expr]) -> Signature | None:
    """The signature PostgreSQL picks, None for none. Raises AmbiguousFunction."""
    types = [a.type for a in args]
    left = [c for c in candidates if c.accepts(len(types))]
    for candidate in left:
        if all(_exact(candidate.argument(i), t) for i, t in enumerate(types)):
            return candidate
    left = [c for c in left if all(_fits(c.argument(i), t) for i, t in enumerate(types))]
    left = _best(left, lambda c: sum(_exact(c.argument(i), t) for i, t in enumerate(types)))
    left = _best(left, lambda c: sum(_takes_preferred(c.argument(i), t) for i, t in enumerate(types)))
    if len(left) > 1 and any(t is UNKNOWN for t in types):
        left = _by_unknowns(left, types)
    if len(left) > 1:
        raise AmbiguousFunction(
            f"function {name}({', '.join(t.name for t in types)}) is not unique",
            hint="Could not choose a best candidate function. You might need to add explicit type casts.",
        )
    return left[0] if left else None


def _best(candidates: list[Signature], score: object) -> list[Signature]:
    assert callable(score)
    if len(candidates) < 2:
        return candidates
    scores = [score(c) for c in candidates]
    top = max(scores)
    return [c for c, s in zip(candidates, scores, strict=True) if s == top]


def _takes_preferred(wanted: str, given: SqlType) -> bool:
    if wanted in ("any", "anyelement", "anyarray", "anyenum") or given is UNKNOWN:
        return False
    target = BY_NAME[wanted]
    return target.typname == given.typname or (preferred(target) and category(target) == category(given))


def _by_unknowns(candidates: list[Signature], types: Sequence[SqlType]) -> list[Signature]:
    """10.3 step 4.e: for an unknown argument take the string category if any candidate does, else theirs if one."""
    left = candidates
    for index, given in enumerate(types):
        if given is not UNKNOWN:
            continue
        categories = {_category(c.argument(index)) for c in left}
        if "S" in categories:
            left = [c for c in left if _category(c.argument(index)) == "S"]
        elif len(categories) > 1:
            continue
        favoured = [c for c in left if c.argument(index) in BY_NAME and preferred(BY_NAME[c.argument(index)])]
        left = favoured or left
    if len(left) > 1:
        known = {t.typname for t in types if t is not UNKNOWN}
        if len(known) == 1:
            only = known.pop()
            same = [c for c in left if all(c.argument(i) == only for i in range(len(types)))]
            left = same or left
    return left


def _category(wanted: str) -> str:
    return category(BY_NAME[wanted]) if wanted in BY_NAME else "?"


def result_type(signature: Signature, args: Sequence[Expr]) -> SqlType:
    """The result's type; polymorphic ones follow the arguments."""
    result = signature.result.partition(":")[0]
    if result == "anyenum":
        return next(a.type for a in args if a.type.labels is not None)
    if result not in ("anyelement", "anyarray"):
        return BY_NAME[result]
    for index, arg in enumerate(args):
        wanted = signature.argument(index)
        if wanted == "anyelement" and not arg.unknown:
            return arg.type if result == "anyelement" else array_of(arg.type)
        if wanted == "anyarray" and arg.type.element is not None:
            return arg.type.element if result == "anyelement" else arg.type
    return BY_NAME["text"] if result == "anyelement" else array_of(BY_NAME["text"])
