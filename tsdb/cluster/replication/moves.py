"""A planned move (2.7): the leader holds new writes until its successor has everything, then asks to be succeeded.

The metadata then assign the next epoch, and everything goes as in any takeover, which finds nothing to fetch. If the
successor does not get there in time, or the metadata do not answer, writes go on in the same epoch: a move that was
asked for and comes later anyway is a takeover like any other.
"""

from __future__ import annotations

from tsdb.cluster.replication import writing
from tsdb.cluster.replication.clients import NOBODY
from tsdb.cluster.replication.record import Abdicate
from tsdb.cluster.replication.state import NEVER, Role, State


def abdicate(state: State, to: int) -> bool:
    """Begin. False: this replica leads nothing, or not to that one."""
    if state.role is not Role.LEADER or not state.active or state.successor or to not in state.peers:
        return False
    if to not in state.voters:
        return False
    state.successor, state.hold_until, state.abdicated = to, state.ticks + state.settings.hold_ticks, False
    proceed(state)
    return True


def proceed(state: State) -> None:
    """The second stage, when the successor has all there is and all of that is committed."""
    if not state.successor or state.abdicated:
        return
    log = state.log
    if state.peers[state.successor].match == log.last == log.commit:
        state.abdicated = True
        state.request(Abdicate(state.location, state.epoch, state.successor, log.last))


def tick(state: State) -> None:
    if state.successor and state.ticks >= state.hold_until:
        state.successor, state.hold_until = NOBODY, NEVER
        held, state.held = state.held, []
        for write in held:
            writing.write(state, write)
    else:
        proceed(state)
