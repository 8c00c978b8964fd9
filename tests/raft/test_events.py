"""The events of a node say what became of its term, vote and leadership, and why."""

from __future__ import annotations

from tests.raft.schedules import THREE, carry_out
from tsdb.cluster.raft.entries import Snapshot
from tsdb.cluster.raft.events import Event, EventKind, EventLog
from tsdb.cluster.raft.messages import Heartbeat, Vote, VoteReply
from tsdb.cluster.raft.node import Node
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.storage import MemoryStorage


def test_every_term_vote_and_leadership_has_its_event_with_its_cause() -> None:
    log, storage = EventLog(), MemoryStorage()
    storage.install(Snapshot(1, 1, THREE))
    node = Node(Settings(node=1, pre_vote=False), storage, lambda n: 0, applied=1, listener=log)
    node.campaign()
    carry_out(node, storage)
    node.step(VoteReply(2, 1, 1))
    carry_out(node, storage)
    node.step(Vote(3, 1, 2, 9, 1, transfer=True))
    carry_out(node, storage)
    node.step(Heartbeat(3, 1, 2, 1))
    assert [(event.kind, event.term, event.peer) for event in log] == [
        (EventKind.STARTED, 0, 0),
        (EventKind.VOTE, 1, 1),
        (EventKind.CAMPAIGN, 1, 0),
        (EventKind.LEADER, 1, 1),
        (EventKind.STEPPED_DOWN, 2, 0),
        (EventKind.FOLLOWS, 2, 0),
        (EventKind.VOTE, 2, 3),
        (EventKind.FOLLOWS, 2, 3),
    ]
    assert [str(event) for event in log][3:5] == [
        "node 1 term 1: leader 1: votes of [1, 2]",
        "node 1 term 2: stepped down: Vote of node 3",
    ]


def test_the_log_of_events_is_bounded_and_counts_what_it_forgot() -> None:
    log = EventLog(kept_max=2)
    for term in range(5):
        log(Event(1, EventKind.TERM, term, 0, "because"))
    assert [event.term for event in log] == [3, 4]
    assert log.forgotten == 3
