"""A numbered batch on its way into the op logs of this node: as whose it is written, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from tsdb.cluster.metadata.records import ClientSession
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replication.clients import Answer, OtherContent, SessionExpired, TooOld, Write
from tsdb.errors import ObjectNotInPrerequisiteState, TsdbError
from tsdb.model.store import Producer
from tsdb.storage.producers import WINDOW


class Logs(Protocol):
    """What of ``host.Host`` is looked at."""

    def has_batch(self, location: int, client: int, batch: int) -> bool: ...

    def batch_refusal(self, location: int, client: int, batch: int, digest: int) -> Answer | None: ...


@dataclass(frozen=True, slots=True)
class Number:
    """``producer`` has a session; ``state`` is what the metadata say at this node, now."""

    producer: Producer
    state: Callable[[], State]

    def put_on(self, write: Write) -> Write:
        """The write as this batch. The window of a producer is what it acknowledges by its highest number."""
        state, producer = self.state(), self.producer
        return replace(
            write,
            client=producer.session,
            batch=producer.batch,
            acknowledged=max(producer.batch - WINDOW, 0),
            open_at=state.group.applied,
            is_open=state.get(ClientSession, producer.session) is not None,
            digest=producer.digest,
        )

    def check(self, logs: Logs, locations: Iterable[int]) -> None:
        """Raises ObjectNotInPrerequisiteState before anything of it is logged, as far as is known here."""
        producer = self.producer
        for location in locations:
            answer = logs.batch_refusal(location, producer.session, producer.batch, producer.digest)
            if answer is not None and (error := self.error(answer)) is not None:
                raise error

    def is_in(self, logs: Logs, locations: Collection[int]) -> bool:
        """Whether it is in the logs of all these locations, committed or not."""
        return all(logs.has_batch(each, self.producer.session, self.producer.batch) for each in locations)

    def error(self, answer: Answer) -> TsdbError | None:
        """What a replica's refusal of this batch is told as; None if that is nothing of batches."""
        what = f'batch {self.producer.batch} of producer "{self.producer.name}"'
        match answer:
            case TooOld(acknowledged=acknowledged):
                return ObjectNotInPrerequisiteState(
                    f"{what} is too old: its last one was {acknowledged + WINDOW}",
                    detail=f"A producer's last {WINDOW} batch numbers are remembered, retries of older ones are not.",
                )
            case OtherContent():
                return ObjectNotInPrerequisiteState(
                    f"{what} was applied before with other content",
                    detail="Nothing of this one is stored.",
                    hint="A number belongs to one batch: send this one with a number that was not used.",
                )
            case SessionExpired():
                return ObjectNotInPrerequisiteState(
                    f"{what} comes after the producer was forgotten, since it had not written for long",
                    hint="Look at the data. What is sent under this name from now on is new.",
                )
            case _:
                return None
