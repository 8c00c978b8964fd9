"""Materialized views: their content is made aside and put in place by one change of the schema.

What is made is a series in the namespace ``BUILDING``, filled batch by batch, durably and in bounded memory. When it is
complete one schema change swaps it in: a reader sees the old content or the new. Whatever a crash or an error leaves in
``BUILDING`` is dropped, at once or when the server starts.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace

from tsdb.errors import CannotConnectNow, FeatureNotSupported, LocationElsewhere, TsdbError
from tsdb.model import authorization, privileges
from tsdb.model.relations import BUILDING, path_of
from tsdb.model.schema import CreateSeries, DropSeries, SchemaChange, Series, Swap
from tsdb.model.store import Store, View
from tsdb.session import effects
from tsdb.session.cancellation import Cancellation
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.context import Context
from tsdb.sql.ddl import create_table_as
from tsdb.sql.ddl.create_table_as import Creation
from tsdb.sql.ddl.statement import Refresh, Source
from tsdb.sql.dml.modification import Reading
from tsdb.sql.query import Queries

_numbers = itertools.count(1)


class Materialization:
    """Makes content out of one view of the data."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        view: View,
        context: Context,
        cancellation: Cancellation,
        refreshes: Refreshes,
    ) -> None:
        self._store = store
        self._queries = queries
        self._view = view
        self._context = context
        self._cancellation = cancellation
        self._refreshes = refreshes

    def create(self, source: Source) -> int:
        """CREATE MATERIALIZED VIEW: how many rows it has."""
        made = create_table_as.prepare(self._queries, source, self._context, self._view.catalog)
        (change,) = authorization.permitted(self._view.catalog, self._context.role, [made.change])
        assert isinstance(change, CreateSeries)
        if change.definition is not None and change.definition.continuous is not None:
            catalog = self._store.change(change)
            series = catalog.find(self._context.database).find(made.path)
            return 0 if source.empty else self._first(series)
        if source.empty:
            self._store.change(change)
            return 0
        content = replace(change, definition=None, populated=True)
        return self._fill(content, made, self._context, change, Swap(self._context.database, made.path, ""))

    def refresh(self, refresh: Refresh) -> int:
        """REFRESH MATERIALIZED VIEW: how many rows it has now."""
        catalog = self._view.catalog
        series = catalog.find(self._context.database).find(refresh.path)
        privileges.check_owner(catalog.roles, self._context.role, series)
        if series.continuous is not None:
            if refresh.empty:
                raise FeatureNotSupported(
                    "a continuous view keeps what is stored of it", hint="DROP it and create it WITH NO DATA."
                )
            return self._refresher().refresh_anywhere(series)
        content, select, inside = create_table_as.refreshed(series, self._context)
        swap = Swap(self._context.database, refresh.path, "", populated=not refresh.empty)
        return self._fill(content, Creation(content, select, refresh.empty), inside, swap)

    def _first(self, series: Series) -> int:
        """What of a new continuous view is stored at once. At another node than its own, or while it is not clear which
        that is: nothing, that one does it soon."""
        try:
            return self._refresher().refresh(series).rows
        except (LocationElsewhere, CannotConnectNow):
            return 0

    def _refresher(self) -> Refresher:
        return Refresher(self._store, self._queries, self._refreshes, self._context, self._cancellation.check)

    def _fill(self, content: CreateSeries, made: Creation, context: Context, *changes: SchemaChange) -> int:
        """Make and fill the content, then carry out ``changes``, of which the last swaps it in."""
        database = self._context.database
        aside = replace(content, schema=BUILDING, name=f"{self._context.backend_pid}_{next(_numbers)}")
        path = path_of(BUILDING, aside.name)
        catalog = self._store.change(aside)
        try:
            rows = self._write(catalog.find(database).find(path), made, context)
            *before, swap = changes
            assert isinstance(swap, Swap)
            self._store.change(*before, replace(swap, content=path))
        except BaseException:
            self._forget(database, path)
            raise
        return rows

    def _write(self, series: Series, made: Creation, context: Context) -> int:
        outcome = made.start(series, Reading(self._queries, self._view.catalog, self._view, (), context))
        try:
            for effect in outcome:
                self._cancellation.check()
                effects.write(self._store, [effect])
        finally:
            self._cancellation.watch(None)
            outcome.close()
        return outcome.count

    def _forget(self, database: str, path: str) -> None:
        # If the database is gone, so is this; if the disk fails, the next start does it.
        with contextlib.suppress(TsdbError):
            self._store.change(DropSeries(database, path))
