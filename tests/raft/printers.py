"""Readies, messages, entries and configurations in the words of etcd-io/raft's scripts."""

from __future__ import annotations

from collections.abc import Iterable

from tsdb.cluster.raft.changes import Change, MemberChange, change_of
from tsdb.cluster.raft.entries import Configuration, Entry, EntryKind, HardState, Snapshot
from tsdb.cluster.raft.messages import (
    Append,
    AppendReply,
    Applied,
    Apply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    NeedBody,
    Propose,
    ReadIndex,
    ReadIndexReply,
    Store,
    Stored,
    TimeoutNow,
    TransferLeadership,
    Vote,
    VoteReply,
)
from tsdb.cluster.raft.ready import Ready

LETTERS = {
    MemberChange.ADD_VOTER: "v",
    MemberChange.REMOVE: "r",
    MemberChange.UPDATE: "u",
    MemberChange.ADD_LEARNER: "l",
}
KINDS = {
    EntryKind.NORMAL: "EntryNormal",
    EntryKind.SINGLE_CHANGE: "EntryConfChange",
    EntryKind.CHANGE: "EntryConfChangeV2",
}
NAMES: dict[type, str] = {
    Propose: "MsgProp",
    Append: "MsgApp",
    AppendReply: "MsgAppResp",
    NeedBody: "MsgNeedBody",
    Heartbeat: "MsgHeartbeat",
    HeartbeatReply: "MsgHeartbeatResp",
    InstallSnapshot: "MsgSnap",
    TransferLeadership: "MsgTransferLeader",
    TimeoutNow: "MsgTimeoutNow",
    ReadIndex: "MsgReadIndex",
    ReadIndexReply: "MsgReadIndexResp",
}


def change_text(change: Change) -> str:
    return " ".join(f"{LETTERS[kind]}{node}" for kind, node in change.members)


def entry_text(entry: Entry) -> str:
    change = change_of(entry)
    if change is None:
        body = f"<elided {entry.origin}>" if entry.elided else quoted(entry.body)
    else:
        body = change_text(change)
    return f"{entry.term}/{entry.index} {KINDS[entry.kind]}" + (f" {body}" if body else "")


def quoted(body: bytes) -> str:
    """A body as Go quotes it: what is not text is ``\\xNN``, a quote or a backslash of its own has one before it."""
    escaped = body.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return '"' + escaped.decode("utf-8", "backslashreplace") + '"'


def configuration_text(configuration: Configuration) -> str:
    def ids(nodes: Iterable[int]) -> str:
        return "[" + " ".join(map(str, nodes)) + "]"

    return (
        f"Voters:{ids(configuration.voters)} VotersOutgoing:{ids(configuration.outgoing)} "
        f"Learners:{ids(configuration.learners)} LearnersNext:{ids(configuration.learners_next)} "
        f"AutoLeave:{str(configuration.auto_leave).lower()}"
    )


def snapshot_text(snapshot: Snapshot) -> str:
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{configuration_text(snapshot.configuration)}"


def hard_state_text(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def _entries_text(entries: tuple[Entry, ...], indent: str) -> str:
    if not entries:
        return ""
    if len(entries) == 1:
        return f" Entries:[{entry_text(entries[0])}]"
    return " Entries:[" + "".join(f"\n{indent}  {entry_text(e)}" for e in entries) + f"\n{indent}]"


def _head(sender: object, to: object, name: str, term: int, log_term: int = 0, index: int = 0) -> str:
    return f"{sender}->{to} {name} Term:{term} Log:{log_term}/{index}"


def message_text(message: Message | Stored | Applied | Store | Apply, indent: str = "") -> str:
    if isinstance(message, (Stored, Applied, Store, Apply)):
        return _local_text(message, indent)
    name = NAMES.get(type(message), "")
    if isinstance(message, (Vote, VoteReply)):
        name = ("MsgPreVote" if message.pre else "MsgVote") + ("Resp" if isinstance(message, VoteReply) else "")
    term = getattr(message, "term", 0)
    log_term = index = 0
    rest = ""
    if isinstance(message, Append):
        log_term, index = message.previous_term, message.previous_index
        rest = f" Commit:{message.commit}" * bool(message.commit) + _entries_text(message.entries, indent)
    elif isinstance(message, AppendReply):
        log_term, index = message.hint_term, message.index
        rest = f" Rejected (Hint: {message.hint_index})" * message.rejected
    elif isinstance(message, (NeedBody, ReadIndexReply)):
        index = message.index
    elif isinstance(message, Vote):
        log_term, index = message.last_term, message.last_index
    elif isinstance(message, VoteReply):
        rest = " Rejected (Hint: 0)" * message.rejected
    elif isinstance(message, Heartbeat):
        rest = f" Commit:{message.commit}" * bool(message.commit)
    elif isinstance(message, Propose):
        rest = _entries_text(message.entries, indent)
    elif isinstance(message, InstallSnapshot):
        rest = f"\n{indent}  Snapshot: {snapshot_text(message.snapshot)}"
    if isinstance(message, (ReadIndex, ReadIndexReply)):
        rest += f" Entries:[0/0 EntryNormal {quoted(message.context)}]"
    return _head(message.sender, message.to, name, term, log_term, index) + rest


def _local_text(message: Stored | Applied | Store | Apply, indent: str) -> str:
    if isinstance(message, Stored):
        text = _head("AppendThread", message.to, "MsgStorageAppendResp", message.term, message.log_term, message.index)
        if message.snapshot is not None:
            text += f"\n{indent}  Snapshot: {snapshot_text(message.snapshot)}"
        return text
    if isinstance(message, Applied):
        head = _head("ApplyThread", message.to, "MsgStorageApplyResp", 0)
        return head + _entries_text(message.entries, indent)
    if isinstance(message, Apply):
        head = _head(message.sender, "ApplyThread", "MsgStorageApply", 0)
        text = head + _entries_text(message.entries, indent)
        return text + _replies_text((message.reply,), indent)
    state = message.state
    text = _head(message.sender, "AppendThread", "MsgStorageAppend", state.term if state else 0)
    if state is not None:
        text += f" Commit:{state.commit}" * bool(state.commit) + f" Vote:{state.vote}" * bool(state.vote)
    text += _entries_text(message.entries, indent)
    if message.snapshot is not None:
        text += f"\n{indent}  Snapshot: {snapshot_text(message.snapshot)}"
    return text + _replies_text(message.replies, indent)


def _replies_text(replies: tuple[Message | Stored | Applied, ...], indent: str) -> str:
    if not replies:
        return ""
    inner = indent + "  "
    return " Responses:[" + "".join(f"\n{inner}{message_text(reply, inner)}" for reply in replies) + f"\n{indent}]"


def messages_of(ready: Ready) -> list[Message | Store | Apply]:
    """All that a Ready sends, in the order in which it was said; then the work of an asynchronous node."""
    work: list[Store | Apply] = [part for part in (ready.store, ready.apply) if part is not None]
    return [*ready.messages_at_once, *ready.messages, *work]


def ready_text(ready: Ready, must_sync: bool) -> str:
    lines: list[str] = []
    if ready.standing is not None:
        lines.append(f"Lead:{ready.standing.leader} State:{ready.standing.role.value}")
    if ready.state is not None:
        lines.append(f"HardState {hard_state_text(ready.state)}")
    if ready.read_states:
        states = " ".join(f"{{{read.index} [{' '.join(map(str, read.context))}]}}" for read in ready.read_states)
        lines.append(f"ReadStates [{states}]")
    if ready.entries:
        lines += ["Entries:", *map(entry_text, ready.entries)]
    if ready.snapshot is not None:
        lines.append(f"Snapshot {snapshot_text(ready.snapshot)}")
    if ready.committed:
        lines += ["CommittedEntries:", *map(entry_text, ready.committed)]
    messages = messages_of(ready)
    if messages:
        lines += ["Messages:", *map(message_text, messages)]
    if not lines:
        return "<empty Ready>"
    return "\n".join([f"Ready MustSync={str(must_sync).lower()}:", *lines])
