"""Casts where PostgreSQL's analysis puts them. Source: PostgreSQL 15, parse_coerce.c."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.sql.context import Context
from tsdb.sql.deparse import constants, facts
from tsdb.sql.deparse.nodes import Cast, Const, Node, Unprintable


def coerced(node: Node, target: int, context: Context, *, explicit: bool = False, typmod: int = -1) -> Node:
    """``node`` as a value of ``target``; only where an explicit cast is written does a modifier count.

    Raises Unprintable when there is no way.
    """
    made = _typed(node, target, context, explicit, typmod)
    if explicit and typmod < 0 and made is node and node.typmod >= 0:
        return Cast(target, -1, node)
    if explicit and typmod >= 0 and made.typmod != typmod:
        # The cast that cuts hides the one that made the type.
        inner = replace(made, implicit=True) if isinstance(made, Cast) and made is not node else made
        made = Cast(target, typmod, inner, False, target in facts.sizing())
    return made


def _typed(node: Node, target: int, context: Context, explicit: bool, typmod: int) -> Node:
    if node.type == target or target in (facts.ANY, *facts.POLYMORPHIC):
        return node
    if node.type == facts.UNKNOWN:
        if not isinstance(node, Const):
            raise Unprintable("a value without a type")
        made = constants.typed(node, target, context)
        if typmod >= 0 and target == facts.INTERVAL:
            raise Unprintable("an interval with a precision")
        return made
    way = facts.pathway(node.type, target, explicit=explicit)
    if way is None:
        raise Unprintable(f"no cast from {node.type} to {target}")
    return Cast(target, -1, node, not explicit, way == "function")


def all_coerced(nodes: Sequence[Node], context: Context) -> tuple[tuple[Node, ...], int]:
    """Some nodes as values of their common type."""
    target = facts.common([node.type for node in nodes])
    return tuple(coerced(node, target, context) for node in nodes), target


def decided(node: Node, context: Context) -> Node:
    """A literal that nothing has given a type is a text."""
    return coerced(node, facts.TEXT, context) if node.type == facts.UNKNOWN else node
