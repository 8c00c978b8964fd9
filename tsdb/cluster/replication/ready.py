"""What a replica wants done: the order of the fields is the order of the work."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.cluster.replication.clients import Answer
from tsdb.cluster.replication.messages import Message, Snapshot
from tsdb.cluster.replication.ops import Op
from tsdb.cluster.replication.record import Request


@dataclass(frozen=True, slots=True)
class Batch:
    """To be written as one; many replicas' batches may be written and synced together (group commit).

    In this order: ``promised``; ``snapshot`` (its state and content take the place of the location's); ops up to
    ``base`` go; ops after ``truncate_after`` go, those among them that clients wrote to ``reverted``; ``ops`` come.
    None: as it is. Nothing that rests on it leaves before ``Replica.advance`` says that it is done.
    """

    promised: int | None
    snapshot: Snapshot | None
    base: int | None
    truncate_after: int | None
    reverted: tuple[Op, ...]
    ops: tuple[Op, ...]

    @property
    def must_sync(self) -> bool:
        """Only that ops are not needed any more may be lost."""
        return bool(self.promised is not None or self.snapshot or self.truncate_after is not None or self.ops)


@dataclass(frozen=True, slots=True)
class Ready:
    """Work, in this order.

    1. Send ``messages`` and ``requests`` (to the metadata): nothing in them waits for a disk.
    2. Let the content of ``installed`` take the place of the location's points.
    3. Apply ``committed`` to the points. A marker is the last of them: what the points are then, is compared.
    4. Answer ``answers``: what is acknowledged is visible.
    5. Send a snapshot of what is applied to each of ``snapshots``, as ``Replica.snapshot`` makes it.
    6. Write ``batch``, sync it if it must be, and call ``Replica.advance``. Until then the next one has none; more may
       be stepped, ticked, written and read meanwhile.
    """

    messages: tuple[Message, ...]
    requests: tuple[Request, ...]
    installed: Snapshot | None
    committed: tuple[Op, ...]
    answers: tuple[Answer, ...]
    snapshots: tuple[int, ...]
    batch: Batch | None
