"""Plans: what a statement will do, with its columns and parameters, before it runs.

A plan holds for one version of the catalog and the settings that it was made with; ``fresh`` makes it anew for others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tsdb.errors import (
    FeatureNotSupported,
    IndeterminateDatatype,
    InvalidCatalogName,
    InvalidSchemaName,
    TsdbError,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    UndefinedParameter,
    UndefinedTable,
)
from tsdb.model.schema import Catalog
from tsdb.session.rowset import text_columns
from tsdb.session.utility import Command, Declare, PrepareStatement, command
from tsdb.sql.bind import places
from tsdb.sql.context import Context
from tsdb.sql.copy import input as copy_input
from tsdb.sql.copy import output as copy_output
from tsdb.sql.copy import statement as copy_statement
from tsdb.sql.copy.statement import Copy
from tsdb.sql.ddl import create_table_as, roles
from tsdb.sql.dml import compound, delete, insert, update
from tsdb.sql.dml.modification import Modification
from tsdb.sql.pace import Pace
from tsdb.sql.query import Prepared, Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import (
    Compound,
    Ddl,
    Delete,
    Explain,
    Insert,
    Select,
    Statement,
    Truncate,
    Update,
    Utility,
    parse,
)
from tsdb.types import SqlType

T = TypeVar("T")
UNKNOWN = (UndefinedTable, UndefinedColumn, UndefinedObject, UndefinedFunction, InvalidSchemaName, InvalidCatalogName)
"""A name that is not known here may have come into being at another node."""


@dataclass(frozen=True)
class Plan:
    """``columns`` None: no rows. ``body`` is the plan of what DECLARE declares, or of COPY TO's query."""

    statement: Statement
    columns: tuple[ResultColumn, ...] | None = None
    parameters: tuple[SqlType, ...] = ()
    query: Prepared | None = None
    modification: Modification | None = None
    command: Command | None = None
    body: Plan | None = None
    copy: Copy | None = None
    catalog_version: int = -1
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def require_types(self) -> None:
        """Raises IndeterminateDatatype for a parameter that nothing gives a type: it cannot be prepared."""
        query = self.query or (self.body.query if self.body is not None else None)
        for parameter in query.plan.parameters if query is not None else ():
            if parameter.type is None:
                raise IndeterminateDatatype(f"could not determine data type of parameter ${parameter.index + 1}")

    @property
    def reads(self) -> bool:
        """Whether it looks at data, so that what was written before must be there."""
        if self.modification is not None:
            return self.modification.reads
        if self.query is not None:
            return bool(self.query.plan.scans)
        return isinstance(self.statement, Ddl | Truncate)

    @property
    def widens(self) -> bool:
        """Whether a modification calls what makes long texts of short ones."""
        return any(token.is_word("repeat", "lpad", "rpad") for token in self.statement.fragment.tokens)

    @property
    def pace(self) -> Pace | None:
        """Of a query that may be short enough to run where its message was read."""
        return self.query.pace if self.query is not None else None

    @property
    def long(self) -> bool:
        """Whether it may take long, so that it waits for its turn."""
        if self.modification is not None:
            return self.modification.reads
        return self.query.computes if self.query is not None else isinstance(self.statement, Select)


class Planner:
    """Binds statements by ``queries``; ``catalog`` gives the one that holds where none is said."""

    def __init__(self, queries: Queries, catalog: Callable[[], Catalog], catch_up: Callable[[], bool]) -> None:
        """``catch_up``: see ``tsdb.model.store.Store``."""
        self._queries = queries
        self._catalog = catalog
        self._catch_up = catch_up

    def sure(self, work: Callable[[], T]) -> T:
        """Do something that may find no such name; once more if another node has changed the schema meanwhile."""
        try:
            return work()
        except UNKNOWN:
            if not self._catch_up():
                raise
        return work()

    def plan(
        self,
        statement: Statement,
        context: Context,
        types: Sequence[SqlType | None] = (),
        catalog: Catalog | None = None,
    ) -> Plan:
        """Bind a statement. Raises whatever is wrong with its names, types and grammar."""
        if catalog is None:
            return self.sure(lambda: self._plan(statement, context, types, self._catalog()))
        return self._plan(statement, context, types, catalog)

    def _plan(self, statement: Statement, context: Context, types: Sequence[SqlType | None], catalog: Catalog) -> Plan:
        if isinstance(statement, Select | Explain):
            return self._plan_query(statement, context, types, catalog)
        if isinstance(statement, Insert | Update | Delete | Compound):
            found = self._modification(statement, context, catalog, types)
            columns = found.columns or None
            return Plan(
                statement,
                columns,
                found.parameters,
                modification=found,
                catalog_version=catalog.version,
                settings=context.settings,
            )
        if isinstance(statement, Utility) and statement.verb == "COPY":
            return self._plan_copy(statement, context, catalog)
        if isinstance(statement, Utility):
            return self._plan_command(statement, context, types, catalog)
        if isinstance(statement, Ddl) and roles.makes_token(statement):
            return Plan(statement, text_columns("token"))
        return Plan(statement)

    def _plan_query(
        self, statement: Select | Explain, context: Context, types: Sequence[SqlType | None], catalog: Catalog
    ) -> Plan:
        if isinstance(statement, Select) and create_table_as.target_of(statement) is not None:
            return Plan(statement)
        prepared = self._queries.prepare(statement, context, catalog, types)
        return Plan(
            statement,
            prepared.columns,
            prepared.parameters,
            prepared,
            catalog_version=catalog.version,
            settings=context.settings,
        )

    def _modification(
        self, statement: Statement, context: Context, catalog: Catalog, types: Sequence[SqlType | None]
    ) -> Modification:
        if isinstance(statement, Insert):
            return insert.prepare(self._queries, statement, context, catalog, types)
        if isinstance(statement, Update):
            return update.prepare(self._queries, statement, context, catalog, types)
        if isinstance(statement, Compound):
            return compound.prepare(self._queries, statement, context, catalog, types)
        assert isinstance(statement, Delete)
        return delete.prepare(self._queries, statement, context, catalog, types)

    def _plan_command(
        self, statement: Utility, context: Context, types: Sequence[SqlType | None], catalog: Catalog
    ) -> Plan:
        found = command(statement)
        if isinstance(found, Declare):
            inner = parse(found.body)
            if not isinstance(inner, Select):
                raise FeatureNotSupported("DECLARE CURSOR needs a query")
            body = self.plan(inner, context, types, catalog)
            return Plan(statement, None, body.parameters, command=found, body=body)
        if isinstance(found, PrepareStatement):
            parse(found.body)  # a syntax error is one of PREPARE
        return Plan(statement, command=found)

    def _plan_copy(self, statement: Utility, context: Context, catalog: Catalog) -> Plan:
        copy = copy_statement.read(statement, context.database)
        if copy.incoming:
            copy_input.prepare(copy, context, catalog)
            return Plan(statement, copy=copy)
        copy_output.check_columns(copy, context, catalog)
        try:
            body = self.plan(copy_output.query_of(copy), context, (), catalog)
        except TsdbError as error:
            if copy.query is None:
                error.position = None  # it counts in a query that nobody has written
            raise
        if body.parameters:
            name, position = places.of_parameter(statement.fragment, 0) or ("$1", None)
            raise UndefinedParameter(f"there is no parameter {name}", position=position)
        copy_output.check_result(copy, body.columns)
        return Plan(statement, body=body, copy=copy)

    def fresh(self, plan: Plan, context: Context, types: Sequence[SqlType | None], catalog: Catalog) -> Plan:
        """The plan for the catalog and the settings that hold now: one for others may name what is gone, or have read a
        literal by another time zone."""
        if plan.catalog_version == catalog.version and plan.settings == context.settings:
            return plan
        again = self.plan(plan.statement, context, types or plan.parameters, catalog)
        if _shape(again.columns) != _shape(plan.columns):
            raise FeatureNotSupported("cached plan must not change result type")
        return again


def _shape(columns: tuple[ResultColumn, ...] | None) -> list[tuple[str, int]] | None:
    return None if columns is None else [(column.name, column.type.oid) for column in columns]
