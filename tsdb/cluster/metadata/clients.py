"""Client sessions: a numbered command counts once, however often it comes, and is answered as it was the first time.

Sessions end by the group's time, which commands bring and which never goes back: a new leader changes nothing in that,
and no node looks at its clock to apply a command.
"""

from __future__ import annotations

from msgspec.structs import replace

from tsdb.cluster.metadata.commands import CloseClient, Command, KeepClients, OpenClient, OpenProducer
from tsdb.cluster.metadata.records import Answer, ClientSession
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import (
    ConfigurationLimitExceeded,
    InvalidCatalogName,
    InvalidParameterValue,
    ObjectNotInPrerequisiteState,
)

NAME_BYTES_MAX = 64
CLIENTS_MAX = 10_000
ANSWERS_MAX = 64
TTL_NS_MIN = 10**9
TTL_NS_MAX = 30 * 86_400 * 10**9
PRODUCERS_MAX = 10_000
PRODUCER_TTL_NS_MAX = 366 * 86_400 * 10**9


def expire(draft: Draft, now_ns: int) -> None:
    """End the sessions whose clients were not heard of for too long."""
    for session in list(draft.all(ClientSession)):
        if session.ends_ns < now_ns:
            draft.remove(ClientSession, session.client)


def open_session(draft: Draft, action: OpenClient) -> tuple[int, ...]:
    if not 1 <= len(action.name.encode()) <= NAME_BYTES_MAX:
        raise InvalidParameterValue(f"a client's name has 1 to {NAME_BYTES_MAX} bytes")
    if not TTL_NS_MIN <= action.ttl_ns <= TTL_NS_MAX:
        raise InvalidParameterValue(
            f"a client's session lasts {TTL_NS_MIN} to {TTL_NS_MAX} ns without a word, not {action.ttl_ns}"
        )
    if sum(not each.database for each in draft.all(ClientSession)) >= CLIENTS_MAX:
        raise ConfigurationLimitExceeded(f"there are {CLIENTS_MAX} client sessions", hint="Try again later.")
    draft.put(ClientSession(draft.index, action.name, action.ttl_ns, draft.group.time_ns))
    return (draft.index,)


def open_producer(draft: Draft, action: OpenProducer) -> tuple[int, ...]:
    if not 1 <= len(action.name.encode()) <= NAME_BYTES_MAX:
        raise InvalidParameterValue(f"a producer's name has 1 to {NAME_BYTES_MAX} bytes")
    if not TTL_NS_MIN <= action.ttl_ns <= PRODUCER_TTL_NS_MAX:
        raise InvalidParameterValue(
            f"a producer is remembered for {TTL_NS_MIN} to {PRODUCER_TTL_NS_MAX} ns, not {action.ttl_ns}"
        )
    if action.database not in draft.catalog.databases_by_number:
        raise InvalidCatalogName(f"there is no database {action.database}")
    producers = [each for each in draft.all(ClientSession) if each.database]
    for session in producers:
        if (session.database, session.name) == (action.database, action.name):
            draft.put(replace(session, ttl_ns=action.ttl_ns, heard_ns=draft.group.time_ns))
            return (session.client,)
    if len(producers) >= PRODUCERS_MAX:
        raise ConfigurationLimitExceeded(
            f'producer "{action.name}" would be one more than the {PRODUCERS_MAX} that the cluster remembers',
            hint="Reuse producer names: one for each writer, for as long as it writes. One that has not written for "
            "producer_window is forgotten.",
        )
    draft.put(ClientSession(draft.index, action.name, action.ttl_ns, draft.group.time_ns, database=action.database))
    return (draft.index,)


def forget_producers(draft: Draft, database: int) -> None:
    """The database is gone."""
    for session in list(draft.all(ClientSession)):
        if session.database == database:
            draft.remove(ClientSession, session.client)


def keep(draft: Draft, action: KeepClients) -> tuple[int, ...]:
    there = [each for number in dict.fromkeys(action.clients) if (each := draft.get(ClientSession, number))]
    for session in there:
        draft.put(replace(session, heard_ns=draft.group.time_ns))
    return tuple(session.client for session in there)


def close(draft: Draft, action: CloseClient) -> tuple[int, ...]:
    session_of(draft, action.client)
    draft.remove(ClientSession, action.client)
    return ()


def session_of(draft: Draft, client: int) -> ClientSession:
    """Raises ObjectNotInPrerequisiteState."""
    found = draft.get(ClientSession, client)
    if found is None:
        raise ObjectNotInPrerequisiteState(
            f"client {client} has no session, or it has ended",
            hint="Open another one. What became of its last commands has to be looked up.",
        )
    return found


def given(draft: Draft, command: Command) -> Answer | None:
    """The answer that a client's command got when it came before; None if it is new.

    Raises ObjectNotInPrerequisiteState without a session, or for a number whose answer is not kept (any more).
    """
    session = session_of(draft, command.client)
    known = dict(session.answers)
    if command.number in known:
        return known[command.number]
    if not session.acknowledged < command.number <= session.acknowledged + ANSWERS_MAX:
        raise ObjectNotInPrerequisiteState(
            f"command {command.number} of client {command.client} is not one of the {ANSWERS_MAX} after "
            f"{session.acknowledged}, up to which it has acknowledged"
        )
    return None


def note(draft: Draft, command: Command, answer: Answer) -> None:
    """Keep what became of a client's command, and let go of what it has acknowledged. It may just have closed."""
    session = draft.get(ClientSession, command.client)
    if session is None:
        return
    # Not beyond what it has sent: an acknowledged number can never come for the first time.
    acknowledged = max(session.acknowledged, min(command.acknowledged, command.number - 1))
    answers = {number: each for number, each in session.answers if number > acknowledged}
    if command.number > acknowledged:
        answers[command.number] = answer
    kept = tuple(sorted(answers.items()))
    draft.put(replace(session, heard_ns=draft.group.time_ns, acknowledged=acknowledged, answers=kept))
