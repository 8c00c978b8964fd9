"""Where a session's statements read and write: a view with the transaction's own changes, and the way to the store.

READ COMMITTED reads the newest data in each statement. REPEATABLE READ and SERIALIZABLE hold the view of the block's
first statement to its end; what they change and somebody else has changed since is refused at COMMIT (40001). A change
of the schema in the block renews the view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tsdb.errors import FeatureNotSupported, TsdbError
from tsdb.model.freshness import LINEARIZABLE, Freshness
from tsdb.model.layer import Borrowed
from tsdb.model.schema import Catalog
from tsdb.model.store import Effect, Producer, Store, View
from tsdb.session import effects
from tsdb.session.freshness import Writes
from tsdb.session.numbering import Numbering
from tsdb.session.pending import Changes, Overlay
from tsdb.session.temporary import Temporary
from tsdb.session.transaction import State, Transaction
from tsdb.sql.notice import Notice, warning

# An implicit transaction writes what it has collected when it is so much.
WRITE_BYTES = 8 << 20


class Writing:
    """``database`` is the session's; ``repeatable`` says whether a block's statements all read the same; ``writes`` is
    told what is written, ``notify`` what its client is to know of it."""

    def __init__(
        self,
        store: Store,
        transaction: Transaction,
        temporary: Temporary,
        database: str,
        repeatable: Callable[[], bool],
        numbering: Numbering,
        writes: Writes,
        notify: Callable[[Notice], None],
    ) -> None:
        self._numbering = numbering
        self._writes = writes
        self._notify = notify
        self._store = store
        self._transaction = transaction
        self._temporary = temporary
        self._database = database
        self._repeatable = repeatable
        self._snapshot: Borrowed | None = None
        self.written_early = False
        # Whether something of the transaction is written, whatever becomes of the rest.
        self._stays = False

    @property
    def catalog(self) -> Catalog:
        return self._store.catalog if self._snapshot is None else self._snapshot.catalog

    def view(self, fresh: Freshness = LINEARIZABLE) -> View:
        """What a statement reads: the newest data, or the block's, and what the transaction has changed. Close it.

        A block whose statements all read the same may change what it reads: that is as new as can be."""
        transaction = self._transaction
        in_block = transaction.state is State.BLOCK
        view: View
        if in_block and self._repeatable():
            self._snapshot = self._snapshot or Borrowed(self._store.view(Freshness(seen=self._writes.seen)))
            view = self._snapshot
        else:
            view = self._store.view(fresh)
        pending = transaction.pending
        return Overlay(view, pending.series) if pending else view

    def written(self, view: View) -> View:
        """What a view that a statement reads shows with what the transaction has changed by now."""
        pending = self._transaction.pending.series
        if isinstance(view, Overlay):
            return view.with_changes(pending)
        return Overlay(view, pending) if pending else view

    @property
    def pending(self) -> Mapping[int, Changes]:
        """What the transaction has changed and not written, by series."""
        return self._transaction.pending.series

    def renew(self, catalog: Catalog) -> None:
        """The schema was changed here: what is pending for dropped series is dropped, and a snapshot is taken anew."""
        for number in [each for each in self._transaction.pending.series if each not in catalog.series_by_number]:
            self._transaction.forget(number)
        self.release()

    def release(self) -> None:
        """The transaction has ended."""
        self._stays = False
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            snapshot.view.close()

    def collect(self, effect: Effect) -> None:
        """Raises OutOfMemory, and what writing raises."""
        self._transaction.add(effect)
        numbered = self._numbering.producer() is not None
        large = self._transaction.pending_bytes >= WRITE_BYTES
        if self._transaction.state is State.IMPLICIT and large and not numbered:
            self.written_early = True
            self.write_pending()

    def write_pending(self) -> None:
        """Make what was collected durable and visible: later statements of an implicit transaction read it.

        Raises FeatureNotSupported for a numbered transaction, which is written as one.
        """
        if self._transaction.pending and self._numbering.producer() is not None:
            raise FeatureNotSupported(
                "a numbered transaction of several statements needs BEGIN", hint="BEGIN; …; COMMIT as one batch."
            )
        pending: Sequence[Effect] = self._transaction.take()
        self._write(pending, None)
        self._stays = self._stays or bool(pending)

    def _write(self, pending: Sequence[Effect], producer: Producer | None) -> None:
        if not pending:
            return
        try:
            done = effects.write(self._store, pending, producer, self._writes.acks())
        except TsdbError as error:
            raise (effects.partly(error) if self._stays else error) from None
        self._writes.wrote(done.token)
        if done.fell_short:
            self._notify(warning("a majority of the replicas has what was written, and not all that were to have it"))
        if producer is not None:
            self._numbering.used(producer, duplicate=done.duplicate)

    def commit(self) -> None:
        """The same at the transaction's end, but for what ON COMMIT takes away."""
        pending: Sequence[Effect] = self._transaction.take()
        if self._temporary.waiting:
            pending = self._temporary.kept(self._database, pending)
        self._write(pending, self._numbering.producer())
