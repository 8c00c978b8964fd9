"""The states of a server's connection and the moves between them, as tables.

Theory of operation
-------------------
One state says both what the client may send next and whose turn it is. A message from the client moves the state by
``RECEIVED``; what the server sends moves it by ``SENT``. A message that has no entry in ``RECEIVED`` is a protocol
violation; an answer that has none in ``SENT`` is a defect of ours and fails an assertion.

In some states it is the server's turn (``SERVERS_TURN``): the client may have sent more already (pipelining), but
what those bytes mean depends on the answer, so they wait. A simple query, for instance, may turn into COPY FROM
STDIN, and only then are CopyData messages more than leftovers. So a pipelining client needs no code of its own.

    STARTUP ──packet──> NEGOTIATING ──S/N──> STARTUP            (SSLRequest, GSSENCRequest)
    STARTUP ──packet──> STARTING ──password request──> PASSWORD, SASL_… ──answer──> STARTING
    STARTING ──authentication ok──> GREETING ──ready──> IDLE
    IDLE ──Query──> SIMPLE ──ready──> IDLE                      (in between: COPY_IN_SIMPLE)
    IDLE ──Parse, Bind, …──> EXTENDED ──Sync──> SYNCING ──ready──> IDLE     (in between: COPY_IN_EXTENDED)
    EXTENDED ──error──> SKIPPING ──Sync──> SYNCING

No session begins without AuthenticationOk: READY has no entry in STARTING.

In SKIPPING, after an error in the extended protocol, everything up to Sync is discarded unread, except Terminate.
In IDLE and EXTENDED the messages of a COPY are discarded, since a client learns late that its COPY has failed. In
COPY_IN_EXTENDED, Flush and Sync are discarded: libpq sends Sync along with Execute, before it knows of the COPY.

Source: PostgreSQL 15 manual, 55.2 (message flow); src/backend/tcop/postgres.c, src/backend/commands/copyfromparse.c.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    # They are keys of tables: as fast as an object's own.
    __hash__ = object.__hash__

    STARTUP = auto()
    NEGOTIATING = auto()
    STARTING = auto()
    GREETING = auto()
    PASSWORD = auto()
    SASL_INITIAL = auto()
    SASL_RESPONSE = auto()
    IDLE = auto()
    SIMPLE = auto()
    EXTENDED = auto()
    SYNCING = auto()
    SKIPPING = auto()
    COPY_IN_SIMPLE = auto()
    COPY_IN_EXTENDED = auto()
    CLOSED = auto()


class Sent(Enum):
    """What the server sends, as far as it moves the state. ANSWER is every other message."""

    __hash__ = object.__hash__

    ENCRYPTION_ANSWER = auto()
    PASSWORD_REQUEST = auto()
    SASL_REQUEST = auto()
    SASL_CONTINUE = auto()
    SASL_FINAL = auto()
    AUTHENTICATED = auto()
    READY = auto()
    ERROR = auto()
    COPY_IN = auto()
    ANSWER = auto()


SERVERS_TURN = frozenset({State.NEGOTIATING, State.STARTING, State.GREETING, State.SIMPLE, State.SYNCING, State.CLOSED})

# Before the first ReadyForQuery: small messages only.
UNAUTHENTICATED = frozenset(
    {State.STARTUP, State.NEGOTIATING, State.STARTING, State.PASSWORD, State.SASL_INITIAL, State.SASL_RESPONSE}
)


def _row(**moves: State) -> dict[int, State]:
    return {ord(letter): state for letter, state in moves.items()}


_COMMANDS = _row(
    H=State.EXTENDED,
    Q=State.SIMPLE,
    F=State.SIMPLE,
    P=State.EXTENDED,
    B=State.EXTENDED,
    D=State.EXTENDED,
    E=State.EXTENDED,
    C=State.EXTENDED,
    S=State.SYNCING,
    X=State.CLOSED,
)

# By state: message type → next state.
RECEIVED: dict[State, dict[int, State]] = {
    State.PASSWORD: _row(p=State.STARTING, X=State.CLOSED),
    State.SASL_INITIAL: _row(p=State.STARTING, X=State.CLOSED),
    State.SASL_RESPONSE: _row(p=State.STARTING, X=State.CLOSED),
    State.IDLE: _COMMANDS,
    State.EXTENDED: _COMMANDS,
    State.SKIPPING: _row(S=State.SYNCING, X=State.CLOSED),
    State.COPY_IN_SIMPLE: _row(d=State.COPY_IN_SIMPLE, c=State.SIMPLE, f=State.SIMPLE, X=State.CLOSED),
    State.COPY_IN_EXTENDED: _row(d=State.COPY_IN_EXTENDED, c=State.EXTENDED, f=State.EXTENDED, X=State.CLOSED),
}

# By state: message types that are discarded unread.
DISCARDED: dict[State, frozenset[int]] = {
    State.IDLE: frozenset(b"dcf"),
    State.EXTENDED: frozenset(b"dcf"),
    State.SKIPPING: frozenset(b"QFPBDECHdcf"),
    State.COPY_IN_SIMPLE: frozenset(b"HS"),
    State.COPY_IN_EXTENDED: frozenset(b"HS"),
}

# By state: what the server may send → next state.
SENT: dict[State, dict[Sent, State]] = {
    State.NEGOTIATING: {Sent.ENCRYPTION_ANSWER: State.STARTUP},
    State.STARTING: {
        Sent.PASSWORD_REQUEST: State.PASSWORD,
        Sent.SASL_REQUEST: State.SASL_INITIAL,
        Sent.SASL_CONTINUE: State.SASL_RESPONSE,
        Sent.SASL_FINAL: State.STARTING,
        Sent.AUTHENTICATED: State.GREETING,
    },
    State.GREETING: {Sent.ANSWER: State.GREETING, Sent.READY: State.IDLE},
    State.SIMPLE: {
        Sent.ANSWER: State.SIMPLE,
        Sent.ERROR: State.SIMPLE,
        Sent.COPY_IN: State.COPY_IN_SIMPLE,
        Sent.READY: State.IDLE,
    },
    State.EXTENDED: {
        Sent.ANSWER: State.EXTENDED,
        Sent.ERROR: State.SKIPPING,
        Sent.COPY_IN: State.COPY_IN_EXTENDED,
    },
    State.SYNCING: {Sent.ANSWER: State.SYNCING, Sent.ERROR: State.SYNCING, Sent.READY: State.IDLE},
    State.COPY_IN_SIMPLE: {Sent.ERROR: State.SIMPLE, Sent.ANSWER: State.COPY_IN_SIMPLE},
    State.COPY_IN_EXTENDED: {Sent.ERROR: State.SKIPPING, Sent.ANSWER: State.COPY_IN_EXTENDED},
    State.IDLE: {Sent.ANSWER: State.IDLE},
}
