"""Statements of several modifications: INSERT, UPDATE and DELETE in WITH, and MERGE.

All parts read one state of the data, the one before the statement; only what is unique is asked of what the earlier
parts have done. Each part in WITH runs once and to its end, in the order they are written; what it returns is in
hand (``tsdb.sql.bind.handed``) for those that come after it. MERGE is a part for each WHEN (``merge``).

Source: PostgreSQL 15 manual, 7.8.4 (data-modifying statements in WITH).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from sqlglot import exp

from tsdb.errors import CardinalityViolation, FeatureNotSupported
from tsdb.model.schema import Catalog, Series
from tsdb.sql import permission, trees
from tsdb.sql.bind import handed
from tsdb.sql.bind.handed import HandedView
from tsdb.sql.context import Context
from tsdb.sql.dml import delete, insert, merge, update
from tsdb.sql.dml.assignments import is_volatile
from tsdb.sql.dml.modification import Effect, Modification, Outcome, Reading
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Compound, Delete, Insert, Select, Update
from tsdb.types import TEXT, SqlType

Simple = Insert | Update | Delete


@dataclass(frozen=True)
class Part:
    """``returned`` is the series as which later parts read what it returns."""

    statement: Simple
    modification: Modification
    returned: Series | None = None


@dataclass(frozen=True)
class PreparedCompound:
    """``parts`` in their order, then ``main``; it returns what ``main`` gives, a query or the last part.

    ``once`` asks for a row that MERGE would change twice.
    """

    verb: str
    parts: tuple[Part, ...]
    main: Select | None
    columns: tuple[ResultColumn, ...]
    parameters: tuple[SqlType, ...]
    catalog_version: int
    once: Select | None = None
    reads: bool = True

    @property
    def series(self) -> Series:
        return self.parts[0].modification.series

    def check(self, catalog: Catalog, context: Context) -> None:
        for part in self.parts:
            permission.check_modification(catalog, context, part.statement, part.modification.series)

    def start(self, reading: Reading) -> Outcome:
        return Outcome(self.verb, lambda outcome: self._effects(reading, outcome))

    def _effects(self, reading: Reading, outcome: Outcome) -> Iterator[Effect]:
        rows: dict[int, tuple[Series, Sequence[pa.RecordBatch]]] = {}
        self._check_once(reading, outcome)
        for at, part in enumerate(self.parts):
            view = HandedView(reading.view, dict(rows)) if rows else reading.view
            inner = part.modification.start(replace(reading, view=view))
            try:
                for effect in inner:
                    yield effect
                    reading.keeps(inner.returned)
            finally:
                inner.close()
            reading.keeps(inner.returned)
            if part.returned is not None:
                rows[part.returned.number] = part.returned, inner.returned
            if self.verb == "MERGE":
                outcome.count += inner.count
            elif self.main is None and at == len(self.parts) - 1:
                outcome.count = inner.count
                outcome.returned += inner.returned
        if self.main is not None:
            view = HandedView(reading.view, rows) if rows else reading.view
            for batch in outcome.query(replace(reading, view=view), self.main, self.parameters):
                outcome.count += batch.num_rows
                outcome.returned.append(batch)
                reading.keeps(outcome.returned)

    def _check_once(self, reading: Reading, outcome: Outcome) -> None:
        if self.once is None:
            return
        for batch in outcome.query(reading, self.once, self.parameters):
            if batch.num_rows:
                raise CardinalityViolation(
                    "MERGE command cannot affect row a second time",
                    hint="Ensure that not more than one source row matches any one target row.",
                )


def prepare(
    queries: Queries,
    statement: Compound,
    context: Context,
    catalog: Catalog,
    parameter_types: Sequence[SqlType | None] = (),
) -> Modification:
    """Raises what preparing the parts raises; FeatureNotSupported, CardinalityViolation, SqlSyntaxError."""
    types = list(parameter_types)
    # The first time each part finds the types of its own parameters, the second time it knows them all.
    made = _Preparation(queries, statement, context, catalog, types).prepared()
    if any(each is None for each in types) or len(made.parameters) > len(types):
        made = _Preparation(queries, statement, context, catalog, list(made.parameters)).prepared()
    return made


class _Preparation:
    """``types`` of parameters, filled up as parts are prepared."""

    def __init__(
        self, queries: Queries, statement: Compound, context: Context, catalog: Catalog, types: list[SqlType | None]
    ) -> None:
        self._queries = queries
        self._statement = statement
        self._context = context
        self._catalog = catalog
        self._types = types
        self._parts: list[Part] = []
        self._known: list[exp.Expr] = []
        # Of these the queries whose values are new each time, which one part has asked.
        self._asked: set[str] = set()
        self._silent: list[str] = []

    def prepared(self) -> PreparedCompound:
        tree = self._statement.tree
        if isinstance(tree, exp.Merge):
            return self._merge(tree)
        main = tree.copy()
        with_ = main.args["with_"]
        main.set("with_", None)
        for cte in with_.expressions:
            self._common(cte)
        main_query: Select | None = None
        if isinstance(main, exp.Insert | exp.Update | exp.Delete):
            self._add(main)
            verb, columns = main.key.upper(), self._parts[-1].modification.columns
        else:
            main_query = self._query(self._with_known(main), "main")
            found = self._queries.prepare(main_query, self._context, self._catalog, self._own_types(main))
            self._learn(main, found.parameters)
            verb, columns = "SELECT", found.columns
        return self._finished(verb, main_query, columns)

    def _finished(
        self, verb: str, main: Select | None, columns: tuple[ResultColumn, ...], once: Select | None = None
    ) -> PreparedCompound:
        types = tuple(each if each is not None else TEXT for each in self._types)
        return PreparedCompound(verb, tuple(self._parts), main, columns, types, self._catalog.version, once)

    def _common(self, cte: exp.Expr) -> None:
        """One common table: a query stays one, a modification becomes a part and, if it returns, its rows' query."""
        name = trees.name_of(cte.args["alias"])
        if not isinstance(cte.this, exp.Insert | exp.Update | exp.Delete):
            self._check_silent(cte.this)
            self._known.append(cte.copy())
            return
        part = self._add(cte.this.copy(), place=len(self._parts) + 1)
        if part.returned is None:
            self._silent.append(name)
            return
        columns = part.modification.columns
        named = [trees.name_of(each) for each in cte.args["alias"].args.get("columns") or ()]
        names = named + [column.name for column in columns[len(named) :]]
        alias = exp.TableAlias(this=cte.args["alias"].this.copy())
        self._known.append(exp.CTE(this=handed.query(part.returned, names), alias=alias))

    def _merge(self, tree: exp.Merge) -> PreparedCompound:
        found = merge.read(tree)
        for each in found.parts:
            self._add(each)
        once = None
        if found.changes is not None:
            once = self._query(merge.twice(found.changes, self._parts[0].modification.series), "once")
            prepared = self._queries.prepare(once, self._context, self._catalog, self._own_types(found.changes))
            self._learn(found.changes, prepared.parameters)
        return self._finished("MERGE", None, (), once)

    def _add(self, tree: exp.Expr, place: int = 0) -> Part:
        tree = self._with_known(tree)
        fragment = self._query(tree, f"part {len(self._parts)}").fragment
        types = self._own_types(tree)
        arguments = (self._context, self._catalog, types)
        statement: Simple
        made: Modification
        if isinstance(tree, exp.Insert):
            statement = Insert(fragment, tree)
            made = insert.prepare(self._queries, statement, *arguments)
        elif isinstance(tree, exp.Update):
            statement = Update(fragment, tree)
            made = update.prepare(self._queries, statement, *arguments)
        else:
            assert isinstance(tree, exp.Delete)
            statement = Delete(fragment, tree)
            made = delete.prepare(self._queries, statement, *arguments)
        self._learn(tree, made.parameters)
        returned = handed.series_of(place, made.columns, self._context.role) if place and made.columns else None
        part = Part(statement, made, returned)
        self._parts.append(part)
        return part

    def _with_known(self, tree: exp.Expr) -> exp.Expr:
        """With the common tables that came before, if it names any table that may be one."""
        self._check_silent(tree)
        names = {trees.name_of(each) for each in tree.find_all(exp.Table) if isinstance(each.this, exp.Identifier)}
        self._check_asked_once(names)
        if self._known and any(trees.name_of(each.args["alias"]) in names for each in self._known):
            own = tree.args.get("with_")
            inner = [each.copy() for each in own.expressions] if own is not None else []
            tree.set("with_", exp.With(expressions=[*(each.copy() for each in self._known), *inner]))
        return tree

    def _check_asked_once(self, names: set[str]) -> None:
        """Each part asks a query again, so what it gives must be the same. ``names``: of the tables of one part."""
        for cte in reversed(self._known):
            name = trees.name_of(cte.args["alias"])
            if name not in names:
                continue
            names = names | {trees.name_of(each) for each in cte.this.find_all(exp.Table)}
            if not is_volatile(cte.this):
                continue
            if name in self._asked:
                raise FeatureNotSupported(
                    f'WITH query "{name}" calls a function whose value is new each time, and two parts read it',
                    hint="Write its rows into a temporary table first.",
                )
            self._asked.add(name)

    def _check_silent(self, tree: exp.Expr) -> None:
        for table in tree.find_all(exp.Table):
            named = isinstance(table.this, exp.Identifier) and not table.args.get("db")
            if named and trees.name_of(table) in self._silent:
                raise FeatureNotSupported(f'WITH query "{trees.name_of(table)}" does not have a RETURNING clause')

    def _query(self, tree: exp.Expr, role: str) -> Select:
        return trees.derived(self._statement.fragment, role, tree)

    # --- parameters ---

    def _own_types(self, tree: exp.Expr) -> list[SqlType | None]:
        """The types of the parameters as a part is told them: of those that it does not use any will do."""
        used = _parameters(tree)
        count = max([len(self._types), *used], default=0)
        known = [*self._types, *[None] * (count - len(self._types))]
        return [each if each is not None or i + 1 in used else TEXT for i, each in enumerate(known)]

    def _learn(self, tree: exp.Expr, found: Sequence[SqlType]) -> None:
        used = _parameters(tree)
        self._types += [None] * (max(used, default=0) - len(self._types))
        for number in used:
            if number <= len(found) and self._types[number - 1] is None:
                self._types[number - 1] = found[number - 1]


def _parameters(tree: exp.Expr) -> set[int]:
    numbers = (str(each.this.this) for each in tree.find_all(exp.Parameter) if isinstance(each.this, exp.Literal))
    return {int(number) for number in numbers if number.isdigit()}
