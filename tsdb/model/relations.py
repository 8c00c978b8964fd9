"""What a database has beside series: namespaces, views, sequences, and what is declared of a series by name.

A *path* names a relation in its database: the plain name in ``public`` (where line protocol writes), else the
namespace and the name with a separator between them that no name can hold.

A view keeps its query's text and, in ``uses``, what each name in it meant when it was made: the relation's number and
the numbers of the columns that it reads, under the names they had. So renames, other search paths and columns that
are added later change nothing in it, and what it depends on is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.errors import NotNullViolation
from tsdb.model.continuous import Continuous
from tsdb.model.privileges import Grant
from tsdb.model.roles import FIRST
from tsdb.types import INT8, SqlType

PUBLIC = "public"
# The schema of our own system views.
SYSTEM_VIEWS = "tsdb"
# Holds what REFRESH MATERIALIZED VIEW is filling; nobody can name it, and what a crash leaves in it goes at start.
BUILDING = "pg_building"
# A session's temporary tables: ``pg_temp_`` and a number that no two sessions have at once; they go at start, too.
TEMPORARY = "pg_temp_"
_SEPARATOR = "\x1f"


def path_of(schema: str, name: str) -> str:
    """Under which a database keeps a relation."""
    return name if schema == PUBLIC else f"{schema}{_SEPARATOR}{name}"


def schema_of(path: str) -> str:
    schema, separator, _ = path.partition(_SEPARATOR)
    return schema if separator else PUBLIC


def name_of(path: str) -> str:
    return path.rpartition(_SEPARATOR)[2]


def null_in(path: str, column: str) -> NotNullViolation:
    """The error of a NULL in a column that has none, with the fields that drivers read."""
    error = NotNullViolation(
        f'null value in column "{column}" of relation "{name_of(path)}" violates not-null constraint'
    )
    error.column = (schema_of(path), name_of(path), column)
    return error


def passes_with_its_process(schema: str) -> bool:
    """Whether what is in a namespace is dropped when the server starts."""
    return schema == BUILDING or schema.startswith(TEMPORARY)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A schema in PostgreSQL's sense."""

    number: int
    name: str
    comment: str | None = None
    owner: int = FIRST
    grants: tuple[Grant, ...] | None = None

    @property
    def object_kind(self) -> str:
        return "schema"


@dataclass(frozen=True, slots=True)
class Use:
    """One relation that a view's query names as ``schema.name``; ``columns`` are those it reads, with their names then.

    The number of a column of a view is its position, from 1.
    """

    relation: int
    schema: str
    name: str
    columns: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A view's query. ``time_zone`` is the one in which its literals were written; ``continuous``: how a continuous
    view is kept."""

    text: str
    uses: tuple[Use, ...] = ()
    time_zone: str = "UTC"
    continuous: Continuous | None = None


@dataclass(frozen=True, slots=True)
class ViewColumn:
    name: str
    type: SqlType
    typmod: int = -1
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class SqlView:
    """CREATE VIEW's. (A store's View is something else: a state of the data.)"""

    number: int
    schema: str
    name: str
    definition: Definition
    columns: tuple[ViewColumn, ...]
    comment: str | None = None
    owner: int = FIRST
    grants: tuple[Grant, ...] | None = None

    @property
    def object_kind(self) -> str:
        return "view"

    @property
    def path(self) -> str:
        return path_of(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """How a sequence counts; the defaults are those of CREATE SEQUENCE."""

    type: SqlType = INT8
    start: int = 1
    increment: int = 1
    minimum: int = 1
    maximum: int = 2**63 - 1
    cycle: bool = False


@dataclass(frozen=True, slots=True)
class SequenceState:
    """The row that SELECT shows of a sequence: the value given last, or, if not ``called``, the one to be given first;
    ``left`` are so many values more that a crash would skip."""

    last: int
    left: int
    called: bool


@dataclass(frozen=True, slots=True)
class SqlSequence:
    """CREATE SEQUENCE's, or the one of a serial or identity column (series and column: their numbers, else 0).

    How far it has counted is not schema: the store knows it under ``number``.
    """

    number: int
    schema: str
    name: str
    options: SequenceOptions
    series: int = 0
    column: int = 0
    comment: str | None = None
    owner: int = FIRST
    grants: tuple[Grant, ...] | None = None

    @property
    def object_kind(self) -> str:
        return "sequence"

    @property
    def path(self) -> str:
        return path_of(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Constraint:
    """``kind`` is pg_constraint.contype: c check, f foreign key, u unique, x exclusion, p a primary key that a
    reference table got later. Checks hold, and what is unique in a reference table; the others are remembered.

    ``columns`` are numbers, ``names`` what a check's were called when it was written. ``text``: CHECK's expression, or
    EXCLUDE's from USING on. ``validated``: rows that were there before a check have been looked at.
    ``nulls_equal``: NULLS NOT DISTINCT.

    ``references`` is the number of the series that a foreign key names; ``on_update``, ``on_delete`` and ``match`` are
    pg_constraint's letters.
    """

    number: int
    name: str
    kind: str
    columns: tuple[int, ...]
    text: str = ""
    references: int = 0
    reference_columns: tuple[int, ...] = ()
    on_update: str = "a"
    on_delete: str = "a"
    match: str = "s"
    comment: str | None = None
    validated: bool = True
    names: tuple[str, ...] = ()
    nulls_equal: bool = False


@dataclass(frozen=True, slots=True)
class IndexKey:
    """One column (by number) or expression (by text, column 0) of an index."""

    column: int = 0
    text: str = ""
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """Declared and remembered, not built: tags and time are indexed by themselves."""

    number: int
    name: str
    unique: bool
    method: str
    keys: tuple[IndexKey, ...]
    included: tuple[int, ...] = ()
    where: str = ""
    comment: str | None = None
    nulls_equal: bool = False
