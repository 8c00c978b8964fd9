"""Pending changes: what a transaction has written and nobody else sees until COMMIT.

Words: a *pending* row has an *ordinal*, its number in the transaction; its ``sequence`` is −1 − ordinal until COMMIT
gives it a real one. *Changes* are what is pending for one series, kept in this form: first deletions, which concern
only points of the store, then rows to be written. A later DELETE or UPDATE takes pending rows away at once and leaves
a deletion for the store's; so the order of statements needs no memory, and a row that a transaction wrote and deleted
is never written at all.

1. ``changes.Changes`` is the immutable state of one series, ``changes.Pending`` that of a transaction: a savepoint is
   just a reference to one.
2. ``keys`` finds keys (tag set by value, time) of one set of rows in another, by columns.
3. ``overlay.Overlay`` is a ``View`` that reads the store's view as if all of it were applied.

What is not here: when it is written (``tsdb.session.transaction``) and how (``tsdb.session.effects``).
"""

from __future__ import annotations

from tsdb.session.pending.changes import Changes, Pending
from tsdb.session.pending.overlay import Overlay

__all__ = ["Changes", "Overlay", "Pending"]
