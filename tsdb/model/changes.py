"""Changes: what can be done to a catalog, as values. ``tsdb.model.schema.apply`` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.model.catalog import Role
from tsdb.model.relations import PUBLIC, Definition, SequenceOptions, ViewColumn
from tsdb.model.role_changes import RoleChange
from tsdb.model.roles import FIRST
from tsdb.types import SqlType


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column as asked for, before it has a number.

    ``counts``: a serial or identity column, for which a sequence is made; ``sequence`` is the path of one there is.
    """

    name: str
    role: Role
    type: SqlType
    typmod: int = -1
    not_null: bool = False
    default: str | None = None
    identity: str = ""
    counts: SequenceOptions | None = None
    sequence: str | None = None


@dataclass(frozen=True, slots=True)
class ConstraintDefinition:
    """A constraint as asked for; see ``relations.Constraint``. ``references`` is a path; without a name it gets one. A
    check's ``columns`` are all names that may be such."""

    kind: str
    columns: tuple[str, ...]
    name: str | None = None
    text: str = ""
    references: str | None = None
    reference_columns: tuple[str, ...] = ()
    on_update: str = "a"
    on_delete: str = "a"
    match: str = "s"
    validated: bool = True
    nulls_equal: bool = False


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """An index as asked for. A key is (column or None, text of an expression, descending, nulls first)."""

    keys: tuple[tuple[str | None, str, bool, bool], ...]
    name: str | None = None
    unique: bool = False
    method: str = "btree"
    included: tuple[str, ...] = ()
    where: str = ""
    nulls_equal: bool = False


@dataclass(frozen=True, slots=True)
class CreateDatabase:
    name: str
    if_not_exists: bool = False
    owner: int = FIRST


@dataclass(frozen=True, slots=True)
class DropDatabase:
    name: str


@dataclass(frozen=True, slots=True)
class RenameDatabase:
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class CreateSeries:
    """``key`` are the names of the PRIMARY KEY's columns; ``columns`` hold at most one with the role TIME.

    Here ``name`` is a plain name, in ``schema``; everywhere else ``name`` and ``series`` are paths. Points before
    ``floor_ns`` are refused from the start. ``acks`` as in ``catalog.Series``. Its buckets are cut into
    ``slots``, a power of two.
    """

    database: str
    name: str
    columns: tuple[ColumnDefinition, ...]
    keyed: bool
    reference: bool = False
    retention_ns: int | None = None
    key: tuple[str, ...] = ()
    if_not_exists: bool = False
    schema: str = PUBLIC
    key_name: str | None = None
    constraints: tuple[ConstraintDefinition, ...] = ()
    indexes: tuple[IndexDefinition, ...] = ()
    definition: Definition | None = None
    populated: bool = True
    owner: int = FIRST
    floor_ns: int | None = None
    acks: int | None = None
    slots: int = 1


@dataclass(frozen=True, slots=True)
class DropSeries:
    """Raises DependentObjectsStillExist for what views or foreign keys use, unless ``cascade``."""

    database: str
    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class RenameSeries:
    database: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AddColumn:
    """Adding a column that exists with the same role and type does nothing: two writers may discover it at once."""

    database: str
    series: str
    column: ColumnDefinition
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropColumn:
    database: str
    series: str
    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class RenameColumn:
    database: str
    series: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AlterColumnType:
    """The column gets a new number; values under the old one are read through a cast."""

    database: str
    series: str
    name: str
    type: SqlType
    typmod: int = -1


@dataclass(frozen=True, slots=True)
class AlterColumn:
    """Change a field's NOT NULL or default; ``None`` for ``not_null`` keeps it, ``set_default`` says whether to set.

    ``sequence`` is the path of one that counts the column from now on.
    """

    database: str
    series: str
    name: str
    not_null: bool | None = None
    set_default: bool = False
    default: str | None = None
    sequence: str | None = None


@dataclass(frozen=True, slots=True)
class SetRetention:
    """``floor_ns`` only rises; ``retention_ns`` None keeps points for ever.

    ``unchanged_since``: a counter, and an instant up to which the series must not have changed since, else the store
    refuses with SerializationFailure.
    """

    database: str
    series: str
    retention_ns: int | None
    floor_ns: int | None = None
    unchanged_since: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SetAcks:
    """On how many replicas what is written to a series is to be, where the write itself does not say it."""

    database: str
    series: str
    acks: int | None


@dataclass(frozen=True, slots=True)
class SetSlots:
    """A series' buckets from ``from_bucket`` on are to be cut into ``slots``, a power of two: nothing is written to
    them until that is settled. An earlier wish that is not settled is gone. Raises ObjectNotInPrerequisiteState."""

    database: str
    series: str
    slots: int
    from_bucket: int


@dataclass(frozen=True, slots=True)
class SettleSlots:
    """Nothing was written to the buckets for which slots were wished: they hold from now on; or the wish is
    ``dropped``. ``counter`` is none that a later point may have. Raises ObjectNotInPrerequisiteState where nobody
    wishes for slots from ``from_bucket`` on."""

    database: str
    series: str
    from_bucket: int
    dropped: bool = False
    counter: int = 0


@dataclass(frozen=True, slots=True)
class SetContinuous:
    """How a continuous view is kept; its buckets stay. Raises WrongObjectType."""

    database: str
    series: str
    lag_ns: int | None = None
    every_ns: int | None = None
    stored_only: bool | None = None


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    database: str
    name: str
    if_not_exists: bool = False
    owner: int = FIRST


@dataclass(frozen=True, slots=True)
class DropNamespace:
    database: str
    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class RenameNamespace:
    database: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class MoveRelation:
    """ALTER … SET SCHEMA of a series, view or sequence."""

    database: str
    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class CreateView:
    """``replace``: a view that is there keeps its number; its columns stay, and more may follow them."""

    database: str
    schema: str
    name: str
    definition: Definition
    columns: tuple[ViewColumn, ...]
    replace: bool = False
    owner: int = FIRST


@dataclass(frozen=True, slots=True)
class DropView:
    database: str
    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class RenameView:
    database: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class RenameViewColumn:
    database: str
    name: str
    column: str
    to: str


@dataclass(frozen=True, slots=True)
class Swap:
    """The series at ``content`` takes the place of the content of the materialized view ``name``."""

    database: str
    name: str
    content: str
    populated: bool = True


@dataclass(frozen=True, slots=True)
class CreateSequence:
    """``of`` is the (path, column) whose sequence it is: it is dropped with them."""

    database: str
    schema: str
    name: str
    options: SequenceOptions
    if_not_exists: bool = False
    of: tuple[str, str] | None = None
    owner: int = FIRST


@dataclass(frozen=True, slots=True)
class DropSequence:
    database: str
    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class RenameSequence:
    database: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AlterSequence:
    """``of`` is (path, column); ``set_of`` with None: nobody's."""

    database: str
    name: str
    options: SequenceOptions
    set_of: bool = False
    of: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SetIdentity:
    """ALTER COLUMN ADD GENERATED … AS IDENTITY (``counts``), SET GENERATED, or (``identity`` empty) DROP IDENTITY."""

    database: str
    series: str
    name: str
    identity: str
    counts: SequenceOptions | None = None


@dataclass(frozen=True, slots=True)
class AddConstraint:
    database: str
    series: str
    constraint: ConstraintDefinition


@dataclass(frozen=True, slots=True)
class DropConstraint:
    database: str
    series: str
    name: str


@dataclass(frozen=True, slots=True)
class ValidateConstraint:
    """The rows that are there have been looked at."""

    database: str
    series: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameConstraint:
    database: str
    series: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AddIndex:
    database: str
    series: str
    index: IndexDefinition


@dataclass(frozen=True, slots=True)
class DropIndex:
    database: str
    series: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameIndex:
    database: str
    series: str
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class CreateEnum:
    """A type with labels in their order. Everywhere else ``name`` of a type is a path."""

    database: str
    schema: str
    name: str
    labels: tuple[str, ...]
    owner: int = FIRST


@dataclass(frozen=True, slots=True)
class DropType:
    """Raises DependentObjectsStillExist for what columns have, unless ``cascade``."""

    database: str
    name: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class AddLabel:
    """ALTER TYPE … ADD VALUE: at the end, or next to ``neighbour``, ``after`` it or before."""

    database: str
    name: str
    label: str
    if_not_exists: bool = False
    neighbour: str | None = None
    after: bool = False


@dataclass(frozen=True, slots=True)
class RenameLabel:
    """Raises FeatureNotSupported where columns may hold the label: they hold it as text."""

    database: str
    name: str
    label: str
    to: str


@dataclass(frozen=True, slots=True)
class RenameType:
    """``schema`` other than the type's moves it."""

    database: str
    name: str
    schema: str
    to: str


@dataclass(frozen=True, slots=True)
class SetComment:
    """``kind``: database, schema, type, relation, column, constraint or index. ``name`` is a path (a plain name for the
    first two), ``part`` the column's, constraint's or index's name. None takes the comment away."""

    database: str
    kind: str
    name: str
    comment: str | None
    part: str = ""


SchemaChange = (
    CreateDatabase
    | DropDatabase
    | RenameDatabase
    | CreateSeries
    | DropSeries
    | RenameSeries
    | AddColumn
    | DropColumn
    | RenameColumn
    | AlterColumnType
    | AlterColumn
    | SetRetention
    | SetContinuous
    | SetAcks
    | SetSlots
    | SettleSlots
    | CreateNamespace
    | DropNamespace
    | RenameNamespace
    | MoveRelation
    | CreateView
    | DropView
    | RenameView
    | RenameViewColumn
    | Swap
    | CreateSequence
    | DropSequence
    | RenameSequence
    | AlterSequence
    | SetIdentity
    | AddConstraint
    | DropConstraint
    | ValidateConstraint
    | RenameConstraint
    | AddIndex
    | DropIndex
    | RenameIndex
    | CreateEnum
    | DropType
    | AddLabel
    | RenameLabel
    | RenameType
    | SetComment
    | RoleChange
)
