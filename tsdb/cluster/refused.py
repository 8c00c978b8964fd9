"""What a database that several nodes have cannot do yet, by name: refused before anything of it is logged."""

from __future__ import annotations

from collections.abc import Iterable

from tsdb.errors import FeatureNotSupported
from tsdb.model.store import Effect, Producer, Write


def check_unnumbered(producer: Producer | None) -> None:
    """Raises FeatureNotSupported."""
    if producer is not None:
        raise FeatureNotSupported(
            f'batches of producer "{producer.name}" cannot be told from their retries in a replicated database yet',
            hint="Write without a producer and a batch number: a point that comes again takes its own place.",
        )


def check_effects(effects: Iterable[Effect]) -> None:
    """Raises FeatureNotSupported."""
    if any(isinstance(effect, Write) and effect.free is not None for effect in effects):
        raise FeatureNotSupported(
            "a replicated database has no reference tables and no unique columns yet",
            hint="Tables with a time take points: one with the same time and tags merges into the one before.",
        )
