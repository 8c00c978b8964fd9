"""Who is in the group: what a node does when that changes."""

from __future__ import annotations

from tsdb.cluster.raft import replication
from tsdb.cluster.raft.changes import Change, Draft, restored
from tsdb.cluster.raft.entries import NOBODY, Configuration
from tsdb.cluster.raft.events import EventKind
from tsdb.cluster.raft.progress import Progress
from tsdb.cluster.raft.state import Raft, Role


def restore(raft: Raft, configuration: Configuration) -> None:
    """The configuration of a snapshot."""
    switch(raft, *restored(configuration, raft.log.last_index(), raft.new_inflights))


def apply_change(raft: Raft, change: Change) -> Configuration:
    """The configuration after a committed change. Raises ChangeRefused."""
    draft = Draft(raft.configuration, raft.members, raft.log.last_index(), raft.new_inflights)
    switch(raft, draft.change(change), draft.members)
    return raft.configuration


def switch(raft: Raft, configuration: Configuration, members: dict[int, Progress]) -> None:
    raft.configuration, raft.members = configuration, members
    raft.report(EventKind.CONFIGURATION, NOBODY, str(configuration))
    if raft.role is not Role.LEADER:
        return
    me = members.get(raft.node)
    if me is None or me.learner:
        if raft.settings.step_down_on_removal:
            raft.become_follower(raft.term, NOBODY, "no voter any more")
        return
    if not configuration.voters:
        return
    # A smaller majority may have more; and who is new need not wait for a heartbeat.
    replication.broadcast_append(raft, if_empty=replication.commit(raft))
    if raft.transferee != NOBODY and raft.transferee not in configuration.all_voters():
        raft.transferee = NOBODY
