"""What a modification holds of the budget of results: a batch of what it reads, and all that RETURNING gives."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tsdb.errors import OutOfMemory
from tsdb.session.budget import MIB, Claim


class Returned:
    """``claim`` has entered; None where nothing is read: then RETURNING gives no more than the client sent."""

    def __init__(self, claim: Claim | None) -> None:
        self._claim = claim
        self._batches = 0
        self._bytes = 0

    def reads(self, batch_bytes: int) -> None:
        """A batch of its query has come."""
        if self._claim is not None:
            self._claim.hold(batch_bytes + self._bytes)

    def keeps(self, batches: Sequence[pa.RecordBatch]) -> None:
        """A part of the statement has returned so much by now, which later parts read. Raises OutOfMemory."""
        if batches and self._claim is not None and sum(each.nbytes for each in batches) > self._claim.most_bytes:
            raise self._too_much(self._claim)

    def holds(self, batches: Sequence[pa.RecordBatch]) -> None:
        """RETURNING has given so much by now. Raises OutOfMemory beyond half of the budget."""
        self._bytes += sum(batch.nbytes for batch in batches[self._batches :])
        self._batches = len(batches)
        if self._claim is not None and self._bytes > self._claim.most_bytes:
            raise self._too_much(self._claim)

    @staticmethod
    def _too_much(claim: Claim) -> OutOfMemory:
        return OutOfMemory(
            f"RETURNING gives more than {claim.most_bytes // MIB} MiB",
            hint="Change fewer rows at a time, or raise result_memory.",
        )
