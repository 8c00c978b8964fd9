"""The binder's state and its dispatch: one function per kind of node, registered by the modules of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, StatementTooComplex, TsdbError, UndefinedParameter
from tsdb.model.relations import SqlSequence, SqlView, Use
from tsdb.model.schema import Catalog, Database, Series
from tsdb.sql import lexer, names
from tsdb.sql.bind import places
from tsdb.sql.context import Context
from tsdb.sql.expressions.block import Block, BoundQuery
from tsdb.sql.expressions.coercion import TEXT_TO_NUMERIC
from tsdb.sql.expressions.expression import Expr, Parameter
from tsdb.sql.expressions.relation import Relation, Scope, Source
from tsdb.sql.statement import Fragment
from tsdb.types import UNKNOWN, SqlType

if TYPE_CHECKING:
    from tsdb.sql.bind.gapfill import Filling
    from tsdb.sql.bind.time_bucket import Bucket

    Bind = Callable[["Binder", exp.Expr, Scope], Expr]

MAX_PARAMETERS = 65_535
MAX_RELATIONS = 1_000
MAX_DEPTH = 400

_BINDERS: dict[type[exp.Expr], Bind] = {}


def binds(*kinds: type[exp.Expr]) -> Callable[[Bind], Bind]:
    """Register a function that binds nodes of some kinds."""

    def register(function: Bind) -> Bind:
        for kind in kinds:
            _BINDERS[kind] = function
        return function

    return register


# How much of an expression an error shows.
_SHOWN_LENGTH = 80


@dataclass(eq=False)
class Binder:
    """Binds one statement. ``sources`` are the scans it needs, ``blocks`` its SELECTs, for the planner.

    ``uses`` are the series and views that the statement itself names, as schema and name (as written) and what they
    are. While a view's query is bound, ``frame`` says what its names mean and ``through`` which views led there.
    ``viewed`` are all views that are read, with the role whose rights that needs (None: the session's).
    """

    context: Context
    catalog: Catalog
    database: Database
    fragment: Fragment = field(default_factory=lambda: Fragment(""), repr=False)
    parameters: list[Parameter] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    tables: int = 0
    depth: int = 0
    refused: str = ""
    # What the next query's columns are to be: "" plain values, "shown" texts for a client where they have one,
    # "extended" values and those texts besides.
    form: str = ""
    windows: dict[str, exp.Window] = field(default_factory=dict)
    uses: list[tuple[str, str, Series | SqlView | SqlSequence, Relation]] = field(default_factory=list)
    frame: Mapping[tuple[str, str], Use] | None = None
    through: tuple[SqlView | Series, ...] = ()
    viewed: list[tuple[SqlView, int | None]] = field(default_factory=list)
    # Of time_bucket_gapfill (``gapfill``): what replaces expressions while a SELECT is bound again, the calls that need
    # it in the SELECT that is bound now, and the calls of time_bucket by their text.
    filling: Filling | None = None
    gap_calls: list[str] = field(default_factory=list)
    buckets: dict[str, tuple[Bucket, Expr]] = field(default_factory=dict)
    bind_query: Callable[[Binder, exp.Expr, Scope | None], BoundQuery] = field(repr=False, kw_only=True)

    def bind(self, node: exp.Expr, scope: Scope) -> Expr:
        """Bind an expression. Its errors carry a position where there is one."""
        function = _BINDERS.get(type(node))
        if function is None:
            raise _not_supported(node, self.position(node))
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise StatementTooComplex("stack depth limit exceeded", hint="Nest the statement less deeply.")
        try:
            made = function(self, node, scope)
            return made if self.filling is None else self.filling.of(self, made, scope)
        except TsdbError as error:
            if error.position is None:
                error.position = places.of_error(self.fragment, node, error) or self.position(node)
            raise
        finally:
            self.depth -= 1

    @contextmanager
    def at(self, position: int | None) -> Iterator[None]:
        """An error inside without a place of its own is there."""
        try:
            yield
        except TsdbError as error:
            if error.position is None:
                error.position = position
            raise

    def position(self, node: exp.Expr) -> int | None:
        """The 1-based character of a node in the whole message, where sqlglot kept it."""
        start = node.meta.get("start") if node._meta else None
        if start is None:
            inner = node.args.get("this")
            return self.position(inner) if isinstance(inner, exp.Expr) else None
        return int(start) + 1 + self.fragment.offset

    def parameter(self, number: int) -> Expr:
        if not 1 <= number <= MAX_PARAMETERS:
            raise UndefinedParameter(f"there is no parameter ${number}")
        while len(self.parameters) < number:
            self.parameters.append(Parameter(len(self.parameters)))
        slot = self.parameters[number - 1]
        if slot.type is not None:
            if slot.type.typname == "numeric":
                return Expr(
                    slot.marker, slot.type, "parameter", (), slot, digits=TEXT_TO_NUMERIC, shown=slot.shown_marker
                )
            return Expr(slot.marker, slot.type, "parameter", (), slot)
        return Expr(slot.marker, UNKNOWN, "parameter", (), slot)

    def own_type(self, schema: str, name: str) -> SqlType | None:
        """The type of the database's own that a name means."""
        return names.sql_type(self.context, self.database, schema, name)

    def take_form(self) -> str:
        """The form asked of the query that is bound now; the queries inside it are plain."""
        form, self.form = self.form, ""
        return form

    def source(self, source: Source) -> Source:
        self.sources.append(source)
        return source

    def alias(self) -> str:
        if len(self.relations) >= MAX_RELATIONS:
            raise StatementTooComplex(f"a statement may name at most {MAX_RELATIONS} relations")
        return f"r{len(self.relations) + 1}"

    def typed(self, parameter_types: tuple[SqlType | None, ...]) -> None:
        """The client's types, before anything is bound."""
        self.parameters = [Parameter(i, t) for i, t in enumerate(parameter_types)]

    def without_aggregates(self, node: exp.Expr, scope: Scope, where: str) -> Expr:
        """Bind where neither aggregates nor window functions may stand; ``where`` is WHERE, GROUP BY …"""
        before, self.refused = self.refused, where
        try:
            return self.bind(node, scope)
        finally:
            self.refused = before


def fold(identifier: exp.Expr | str | None) -> str:
    """A name as PostgreSQL keeps it: lower case unless quoted."""
    if identifier is None:
        return ""
    if isinstance(identifier, str):
        return lexer.folded(identifier)
    if isinstance(identifier, exp.Identifier):
        return identifier.name if identifier.args.get("quoted") else lexer.folded(identifier.name)
    return lexer.folded(identifier.name)


def positioned(expr: Expr, position: int | None) -> Expr:
    return expr if position is None else replace(expr, position=position)


def _not_supported(node: exp.Expr, position: int | None) -> FeatureNotSupported:
    """The parser's names of nodes would say nothing to a client: what is shown is the expression."""
    text = node.sql("postgres")
    shown = text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
    return FeatureNotSupported(f"an expression of this form is not supported: {shown}", position=position)
