"""Schema: the catalog, the changes that lead from one catalog to the next, and what carries them out.

Databases, series and columns have numbers, given once and never reused; hash input, ops, keys, blocks and tombstones
hold numbers, only the catalog maps names (design section 1). ``apply`` is pure and deterministic: the same changes in
the same order give the same catalog on every node.

``catalog`` and ``relations`` are what there is, ``changes`` what can be done, ``draft`` a catalog in the making, and
``change_databases``, ``change_series``, ``change_columns``, ``change_declarations``, ``change_views`` and
``change_types`` do it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tsdb.model import (
    change_columns,
    change_databases,
    change_declarations,
    change_series,
    change_slots,
    change_types,
    change_views,
    role_changes,
)
from tsdb.model.catalog import IMAGINED as IMAGINED
from tsdb.model.catalog import Catalog as Catalog
from tsdb.model.catalog import Column as Column
from tsdb.model.catalog import Database as Database
from tsdb.model.catalog import Role as Role
from tsdb.model.catalog import Series as Series
from tsdb.model.catalog import SeriesByNumber as SeriesByNumber
from tsdb.model.change_series import HIDDEN_COLUMNS as HIDDEN_COLUMNS
from tsdb.model.change_series import MAX_COLUMNS as MAX_COLUMNS
from tsdb.model.changes import AddColumn as AddColumn
from tsdb.model.changes import AddConstraint as AddConstraint
from tsdb.model.changes import AddIndex as AddIndex
from tsdb.model.changes import AddLabel as AddLabel
from tsdb.model.changes import AlterColumn as AlterColumn
from tsdb.model.changes import AlterColumnType as AlterColumnType
from tsdb.model.changes import AlterSequence as AlterSequence
from tsdb.model.changes import ColumnDefinition as ColumnDefinition
from tsdb.model.changes import ConstraintDefinition as ConstraintDefinition
from tsdb.model.changes import CreateDatabase as CreateDatabase
from tsdb.model.changes import CreateEnum as CreateEnum
from tsdb.model.changes import CreateNamespace as CreateNamespace
from tsdb.model.changes import CreateSequence as CreateSequence
from tsdb.model.changes import CreateSeries as CreateSeries
from tsdb.model.changes import CreateView as CreateView
from tsdb.model.changes import DropColumn as DropColumn
from tsdb.model.changes import DropConstraint as DropConstraint
from tsdb.model.changes import DropDatabase as DropDatabase
from tsdb.model.changes import DropIndex as DropIndex
from tsdb.model.changes import DropNamespace as DropNamespace
from tsdb.model.changes import DropSequence as DropSequence
from tsdb.model.changes import DropSeries as DropSeries
from tsdb.model.changes import DropType as DropType
from tsdb.model.changes import DropView as DropView
from tsdb.model.changes import IndexDefinition as IndexDefinition
from tsdb.model.changes import MoveRelation as MoveRelation
from tsdb.model.changes import RenameColumn as RenameColumn
from tsdb.model.changes import RenameConstraint as RenameConstraint
from tsdb.model.changes import RenameDatabase as RenameDatabase
from tsdb.model.changes import RenameIndex as RenameIndex
from tsdb.model.changes import RenameLabel as RenameLabel
from tsdb.model.changes import RenameNamespace as RenameNamespace
from tsdb.model.changes import RenameSequence as RenameSequence
from tsdb.model.changes import RenameSeries as RenameSeries
from tsdb.model.changes import RenameType as RenameType
from tsdb.model.changes import RenameView as RenameView
from tsdb.model.changes import RenameViewColumn as RenameViewColumn
from tsdb.model.changes import SchemaChange as SchemaChange
from tsdb.model.changes import SetAcks as SetAcks
from tsdb.model.changes import SetComment as SetComment
from tsdb.model.changes import SetContinuous as SetContinuous
from tsdb.model.changes import SetIdentity as SetIdentity
from tsdb.model.changes import SetRetention as SetRetention
from tsdb.model.changes import SetSlots as SetSlots
from tsdb.model.changes import SettleSlots as SettleSlots
from tsdb.model.changes import Swap as Swap
from tsdb.model.changes import ValidateConstraint as ValidateConstraint
from tsdb.model.draft import MAX_NAME_BYTES as MAX_NAME_BYTES
from tsdb.model.draft import Applied as Applied
from tsdb.model.draft import Draft
from tsdb.model.draft import check_name as check_name
from tsdb.model.role_changes import RoleChange
from tsdb.types import TIMESTAMPTZ


def apply(catalog: Catalog, changes: Iterable[SchemaChange]) -> Catalog:
    """The catalog after ``changes``, all of them or (by an error) none.

    Raises the PostgreSQL condition that fits: DuplicateTable, UndefinedColumn, InvalidCatalogName, ...
    """
    return applied(catalog, changes).catalog


def imagined(catalog: Catalog, changes: Iterable[SchemaChange]) -> Catalog:
    """``apply`` of changes that may never be made, to ask what would be. It is no state of the schema: its version is
    that of none, and nobody keeps what was planned with it."""
    return replace(apply(catalog, changes), version=IMAGINED)


def applied(catalog: Catalog, changes: Iterable[SchemaChange]) -> Applied:
    """``apply``, and what is different: whoever stores the catalog need not compare tens of thousands of series."""
    draft = Draft(catalog)
    for change in changes:
        if isinstance(change, RoleChange):
            role_changes.apply(draft, change)
        elif not (
            _apply_to_database(draft, change)
            or _apply_to_series(draft, change)
            or _apply_to_declarations(draft, change)
            or _apply_to_view(draft, change)
            or _apply_to_type(draft, change)
        ):
            raise AssertionError(f"not a schema change: {change!r}")
    return draft.applied()


def _apply_to_database(draft: Draft, change: SchemaChange) -> bool:
    match change:
        case CreateDatabase():
            change_databases.create_database(draft, change)
        case DropDatabase(name):
            draft.drop_database(name)
        case RenameDatabase(name, to):
            change_databases.rename_database(draft, name, to)
        case CreateNamespace(database, name, if_not_exists, owner):
            change_databases.create_namespace(draft, database, name, if_not_exists=if_not_exists, owner=owner)
        case DropNamespace(database, name, cascade):
            change_databases.drop_namespace(draft, database, name, cascade=cascade)
        case RenameNamespace(database, name, to):
            change_databases.rename_namespace(draft, database, name, to)
        case SetComment():
            change_databases.set_comment(draft, change)
        case _:
            return False
    return True


def _apply_to_series(draft: Draft, change: SchemaChange) -> bool:
    match change:
        case CreateSeries():
            change_series.create_series(draft, change)
        case DropSeries(database, name, cascade):
            change_series.drop_series(draft, database, name, cascade=cascade)
        case RenameSeries(database, name, to):
            change_series.rename_series(draft, database, name, to)
        case MoveRelation(database, name, schema):
            change_series.move_relation(draft, database, name, schema)
        case Swap():
            change_series.swap(draft, change)
        case SetRetention():
            change_series.set_retention(draft, change)
        case SetAcks():
            change_series.set_acks(draft, change)
        case SetSlots():
            change_slots.set_slots(draft, change)
        case SettleSlots():
            change_slots.settle_slots(draft, change)
        case SetContinuous():
            change_series.set_continuous(draft, change)
        case AddColumn():
            change_columns.add_column(draft, change)
        case DropColumn():
            change_columns.drop_column(draft, change)
        case RenameColumn():
            change_columns.rename_column(draft, change)
        case AlterColumnType():
            change_columns.alter_column_type(draft, change)
        case AlterColumn():
            change_columns.alter_column(draft, change)
        case SetIdentity():
            change_columns.set_identity(draft, change)
        case _:
            return False
    return True


def _apply_to_declarations(draft: Draft, change: SchemaChange) -> bool:
    match change:
        case AddConstraint():
            change_declarations.add_constraint(draft, change)
        case DropConstraint():
            change_declarations.drop_constraint(draft, change)
        case ValidateConstraint():
            change_declarations.validate_constraint(draft, change)
        case RenameConstraint():
            change_declarations.rename_constraint(draft, change)
        case AddIndex():
            change_declarations.add_index(draft, change)
        case DropIndex():
            change_declarations.drop_index(draft, change)
        case RenameIndex():
            change_declarations.rename_index(draft, change)
        case _:
            return False
    return True


def _apply_to_view(draft: Draft, change: SchemaChange) -> bool:
    match change:
        case CreateView():
            change_views.create_view(draft, change)
        case DropView(database, name, cascade):
            change_series.drop_view(draft, database, name, cascade=cascade)
        case RenameView(database, name, to):
            change_views.rename_view(draft, database, name, to)
        case RenameViewColumn():
            change_views.rename_view_column(draft, change)
        case CreateSequence():
            change_views.create_sequence(draft, change)
        case DropSequence(database, name, cascade):
            change_series.drop_sequence(draft, database, name, cascade=cascade)
        case RenameSequence(database, name, to):
            change_views.rename_sequence(draft, database, name, to)
        case AlterSequence():
            change_views.alter_sequence(draft, change)
        case _:
            return False
    return True


def _apply_to_type(draft: Draft, change: SchemaChange) -> bool:
    match change:
        case CreateEnum():
            change_types.create_enum(draft, change)
        case DropType(database, name, cascade):
            change_types.drop_type(draft, database, name, cascade=cascade)
        case AddLabel():
            change_types.add_label(draft, change)
        case RenameLabel():
            change_types.rename_label(draft, change)
        case RenameType():
            change_types.rename_type(draft, change)
        case _:
            return False
    return True


LINE_PROTOCOL_TIME = ColumnDefinition("time", Role.TIME, TIMESTAMPTZ, not_null=True)
