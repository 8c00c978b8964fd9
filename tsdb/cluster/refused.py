"""What a database that several nodes have cannot do yet, by name: refused before anything of it is logged."""

from __future__ import annotations

from collections.abc import Iterable

from tsdb.errors import FeatureNotSupported
from tsdb.model.store import Deletion, Effect, KeyDeletion, Producer, Write


def check_unnumbered(producer: Producer | None) -> None:
    """Raises FeatureNotSupported."""
    if producer is not None:
        raise FeatureNotSupported(
            f'batches of producer "{producer.name}" cannot be told from their retries in a replicated database yet',
            hint="Write without a producer and a batch number: a point that comes again takes its own place.",
        )


def check_deletion(deletion: Deletion) -> None:
    """Raises FeatureNotSupported."""
    if isinstance(deletion, KeyDeletion):
        raise FeatureNotSupported(
            "rows of a replicated database cannot be deleted by what is in them yet",
            hint="Delete by time and by tags.",
        )


def check_effects(effects: Iterable[Effect]) -> None:
    """Raises FeatureNotSupported."""
    for effect in effects:
        if not isinstance(effect, Write):
            check_deletion(effect)
        elif any(each is not None for each in (effect.replaces, effect.updates, effect.depends, effect.free)):
            raise FeatureNotSupported(
                "a replicated database has no changes yet that rest on what is there: UPDATE, keys that are unique, "
                "references",
                hint="Write points anew: one with the same time and tags takes the place of the one before.",
            )
