"""How reads of each level are answered (2.8)."""

from __future__ import annotations

from tsdb.cluster.replication.clients import Busy, Fate, NotLeader, ReadAt, TokenReverted
from tsdb.cluster.replication.log import Log
from tsdb.cluster.replication.messages import Ack, Beat, BeatAck
from tsdb.cluster.replication.reads import TokenRead
from tsdb.cluster.replication.state import Role, State

ROUNDS_MAX = 8
"""On their way at once; then the last one is asked again."""


def linearizable(state: State, id: int) -> None:
    """Everything that was acknowledged anywhere before now: a majority has to say that nobody leads later."""
    if state.role is not Role.LEADER or not state.active or state.retired:
        state.answer(NotLeader(id, state.leader_known, state.promised))
    elif len(state.reads) >= state.settings.waiting_max:
        state.answer(Busy(id, "too many reads wait"))
    else:
        state.reads.next.append((id, state.log.commit))
        _ask_for_next(state)


def _ask_for_next(state: State) -> None:
    """Unless others wait for a round: with those that come meanwhile they share the next one."""
    reads = state.reads
    if reads.next and not reads.is_awaited and len(reads.rounds) < ROUNDS_MAX:
        _ask(state)


def _ask(state: State) -> None:
    number = _begin(state)
    for to in state.voters:
        ask(state, to, number)
    _agreed(state, state.replica, number)


def _begin(state: State) -> int:
    """A read never joins a round that began before it came: answers to that may be older than what it must see."""
    reads = state.reads
    return reads.begin(state.now_ns) if len(reads.rounds) < ROUNDS_MAX else reads.number


def ask(state: State, to: int, number: int) -> None:
    if to in state.voters and to != state.replica:
        state.send(Beat(state.replica, to, state.location, state.epoch, number))


def beat_answered(state: State, message: BeatAck | Ack) -> None:
    if message.epoch == state.epoch and message.sender in state.voters and state.heard_from(message.sender):
        _agreed(state, message.sender, message.round)


def _agreed(state: State, replica: int, number: int) -> None:
    reads = state.reads
    reads.answered[replica] = max(reads.answered.get(replica, 0), number)
    for id, sequence in reads.confirm(state.voters, state.majority):
        # Of earlier epochs everything is below the barrier, and what this one acknowledges it has applied before.
        state.answer(ReadAt(id, state.log.epoch_at(sequence), sequence, state.barrier))
    _ask_for_next(state)


def tick(state: State) -> int:
    """A round per heartbeat: reads whose round was lost are served by it, and followers learn how fresh they are.

    Its number, if heartbeats are to ask it: who has one to acknowledge may do so later. 0: somebody waits for the
    answers, and it was asked.
    """
    if state.reads.next or state.reads.is_awaited:
        _ask(state)
        return 0
    number = _begin(state)
    _agreed(state, state.replica, number)
    return number


def session(state: State, id: int, epoch: int, sequence: int, ticks: int) -> None:
    """The client's own write, or what it read last, and everything before it: on any replica that has it."""
    if len(state.reads) >= state.settings.waiting_max:
        state.answer(Busy(id, "too many reads wait"))
        return
    state.reads.tokens.append(TokenRead(id, epoch, sequence, state.ticks + ticks))
    look_at_tokens(state)


def fate(log: Log, epoch: int, sequence: int) -> Fate:
    """Of an op by its name: exact, since that names one op and epochs never decrease along a log (I4, I5)."""
    if sequence <= log.commit:
        return Fate.COMMITTED if log.epoch_at(sequence) == epoch else Fate.REVERTED
    # What is committed of a later epoch is before it in every log, so no log with that has it.
    return Fate.REVERTED if epoch < log.epoch_at(log.commit) else Fate.UNKNOWN


def look_at_tokens(state: State) -> None:
    """Those that are reached, those that never will be, and those that have waited long enough."""
    reads, log = state.reads, state.log
    left: list[TokenRead] = []
    for read in reads.tokens:
        found = Fate.COMMITTED if read.sequence == 0 else fate(log, read.epoch, read.sequence)
        if found is Fate.COMMITTED:
            state.answer(ReadAt(read.id, read.epoch, read.sequence, read.sequence))
        elif found is Fate.REVERTED:
            state.answer(TokenReverted(read.id))
        elif state.ticks >= read.deadline:
            state.answer(Busy(read.id, "this replica has not come so far"))
        else:
            left.append(read)
    reads.tokens = left


def bounded(state: State, id: int, oldest_ns: int) -> None:
    """Not older than ``oldest_ns``, by the leader's clock: a leader proves it by a round, a follower by what that
    leader said last."""
    fresh_ns, needs = proof(state)
    if fresh_ns >= oldest_ns:
        _what_there_is(state, id, needs)
    else:
        state.answer(Busy(id, "this replica has not heard of its leader for too long"))


def proof(state: State) -> tuple[int, int]:
    """(a time of the leader's clock, the op sequence with which all is there that was acknowledged before it)"""
    leads = state.role is Role.LEADER and state.active
    return (state.reads.confirmed_ns, state.barrier) if leads else (state.fresh_ns, state.fresh_sequence)


def anything(state: State, id: int) -> None:
    """What this replica has, however old."""
    _what_there_is(state, id, 0)


def _what_there_is(state: State, id: int, needs: int) -> None:
    commit = state.log.commit
    state.answer(ReadAt(id, state.log.epoch_at(commit), commit, needs))
