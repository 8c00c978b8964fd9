"""Nodes and the messages between them, worked by the commands of a script: etcd-io/raft's interaction environment."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.raft.printers import NAMES, entry_text, message_text, messages_of, ready_text
from tests.raft.script import Command
from tsdb.cluster.raft.changes import Change, MemberChange, Transition
from tsdb.cluster.raft.entries import NO_LIMIT, Configuration, Entry, EntryKind, HardState, Snapshot
from tsdb.cluster.raft.messages import Applied, Apply, InstallSnapshot, Message, Store, Stored, Vote, VoteReply
from tsdb.cluster.raft.node import Node, PeerUnknown
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.state import ProposalDropped
from tsdb.cluster.raft.storage import MemoryStorage

Delivered = Message | Stored | Applied
MEMBER_CHANGES = {
    "v": MemberChange.ADD_VOTER,
    "l": MemberChange.ADD_LEARNER,
    "r": MemberChange.REMOVE,
    "u": MemberChange.UPDATE,
}
TRANSITIONS = {"auto": Transition.AUTO, "implicit": Transition.IMPLICIT, "explicit": Transition.EXPLICIT}


def member_changes(text: str) -> tuple[tuple[MemberChange, int], ...]:
    return tuple((MEMBER_CHANGES[word[0]], int(word[1:])) for word in text.split())


class HistoryStorage(MemoryStorage):
    """Its snapshot is the state machine's latest."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Snapshot] = []

    def snapshot(self) -> Snapshot | None:
        return self.history[-1] if self.history else super().snapshot()


@dataclass
class Member:
    node: Node
    storage: HistoryStorage
    settings: Settings
    synced: HardState
    stores: list[Store] = field(default_factory=list)
    applies: list[Apply] = field(default_factory=list)


class Environment:
    """Runs commands one after the other; each gives its output."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.messages: list[Delivered] = []
        self.quiet = False
        self._lines: list[str] = []
        self._indent = ""

    def run(self, command: Command) -> str:
        """What a command prints; the lines below it are commands, too, unless they are its input."""
        self._lines = []
        steps = [command]
        if command.name != "propose-conf-change":
            steps += [Command(line, command.number, "", "") for line in command.input.splitlines()]
        printed: list[str] = []
        for step in steps:
            try:
                run: Callable[[Command], None] = getattr(self, "do_" + step.name.replace("-", "_"))
                run(step)
            except ProposalDropped:
                self._print("raft proposal dropped")
                if self.quiet:
                    return "raft proposal dropped"
            # What is said while nothing is to be said is not said later either.
            printed += [] if self.quiet else self._lines
            self._lines = []
        return "\n".join(printed) or "ok"

    def _print(self, text: str) -> None:
        self._lines += [self._indent + line for line in text.split("\n")]

    def _indented(self, work: Callable[[], None]) -> None:
        self._indent += "  "
        work()
        self._indent = self._indent[2:]

    def _node(self, command: Command) -> Member:
        return self.members[int(command.words[0]) - 1]

    def _some(self, command: Command) -> list[int]:
        return [int(word) for word in command.words] or list(range(1, len(self.members) + 1))

    # Commands

    def do_log_level(self, command: Command) -> None:
        self.quiet = command.words[0] == "none"

    def do_add_nodes(self, command: Command) -> None:
        voters, learners = command.numbers("voters"), command.numbers("learners")
        index = command.number_of("index", 0)
        body = command.options.get("content", [""])[0].encode()
        snapshot = Snapshot(index, 1 if index else 0, Configuration(tuple(voters), (), tuple(learners)), body)
        for _ in range(int(command.words[0])):
            storage = HistoryStorage()
            storage.install(snapshot)
            storage.history.append(snapshot)
            settings = Settings(
                node=len(self.members) + 1,
                election_ticks=3,
                heartbeat_ticks=1,
                pre_vote=command.flag("prevote"),
                check_quorum=command.flag("checkquorum") or "read-only" in command.options,
                lease_reads=command.options.get("read-only", [""])[0] == "lease-based",
                forward_by_reference=command.flag("by-reference"),
                step_down_on_removal=command.flag("step-down-on-removal"),
                validate_changes=not command.flag("disable-conf-change-validation"),
                asynchronous=command.flag("async-storage-writes"),
                append_bytes_max=command.number_of("max-append-size", NO_LIMIT),
                applying_bytes_max=command.number_of("max-committed-size-per-ready", NO_LIMIT),
                uncommitted_bytes_max=command.number_of("max-uncommitted-size", NO_LIMIT),
                inflight_max=command.number_of("inflight", 1 << 31),
            )
            node = Node(settings, storage, random.Random(settings.node).randrange, applied=index)
            self.members.append(Member(node, storage, settings, HardState()))

    def do_campaign(self, command: Command) -> None:
        self._node(command).node.campaign()

    def do_tick_election(self, command: Command) -> None:
        member = self._node(command)
        for _ in range(member.settings.election_ticks):
            member.node.tick()

    def do_tick_heartbeat(self, command: Command) -> None:
        member = self._node(command)
        for _ in range(member.settings.heartbeat_ticks):
            member.node.tick()

    def do_propose(self, command: Command) -> None:
        self._node(command).node.propose(command.words[1].encode())

    def do_propose_conf_change(self, command: Command) -> None:
        transition = TRANSITIONS[command.options.get("transition", ["auto"])[0]]
        change = Change(member_changes(command.input), transition)
        self._node(command).node.propose_change(change, single=command.flag("v1"))

    def do_read_index(self, command: Command) -> None:
        self._node(command).node.read_index(command.words[1].encode())

    def do_raft_log(self, command: Command) -> None:
        self._raft_log(self._node(command))

    def _raft_log(self, member: Member) -> None:
        storage = member.storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            self._print(f"log is empty: first index={first}, last index={last}")
        for entry in storage.entries(first, last + 1):
            self._print(entry_text(entry))

    def do_raft_state(self, command: Command) -> None:
        for member in self.members:
            status = member.node.status
            votes = "(Voter)" if status.node in status.configuration.all_voters() else "(Non-Voter)"
            self._print(f"{status.node}: {status.role.value} {votes} Term:{status.term} Lead:{status.leader}")

    def do_status(self, command: Command) -> None:
        for node, progress in sorted(self._node(command).node.status.members.items()):
            self._print(f"{node}: {progress}")

    def do_compact(self, command: Command) -> None:
        member = self._node(command)
        member.storage.compact(int(command.words[1]))
        self._raft_log(member)

    def do_send_snapshot(self, command: Command) -> None:
        sender, to = (int(word) for word in command.words)
        member = self.members[sender - 1]
        snapshot = member.storage.snapshot()
        assert snapshot is not None
        message = InstallSnapshot(sender, to, member.node.status.term, snapshot)
        self.messages.append(message)
        self._print(message_text(message))

    def do_transfer_leadership(self, command: Command) -> None:
        self.members[command.numbers("from")[0] - 1].node.transfer_leadership(command.numbers("to")[0])

    def do_forget_leader(self, command: Command) -> None:
        self._node(command).node.forget_leader()

    def do_report_unreachable(self, command: Command) -> None:
        self._node(command).node.report_unreachable(int(command.words[1]))

    def do_report_snapshot(self, command: Command) -> None:
        self._node(command).node.report_snapshot(int(command.words[1]), command.words[2] == "ok")

    def do_set_randomized_election_timeout(self, command: Command) -> None:
        self._node(command).node._raft.election_timeout = command.number_of("timeout", 0)

    def do_process_ready(self, command: Command) -> None:
        self._each(command, "handling Ready", self._process_ready)

    def do_process_append_thread(self, command: Command) -> None:
        self._each(command, "processing append thread", self._process_store)

    def do_process_apply_thread(self, command: Command) -> None:
        self._each(command, "processing apply thread", self._process_apply)

    def _each(self, command: Command, what: str, work: Callable[[Member], None]) -> None:
        nodes = self._some(command)
        for node in nodes:
            if len(nodes) == 1:
                work(self.members[node - 1])
            else:
                self._print(f"> {node} {what}")
                self._indented(lambda node=node: work(self.members[node - 1]))  # type: ignore[misc]

    def do_deliver_msgs(self, command: Command) -> None:
        names = command.options.get("type", [None])
        for node in (int(word) for word in command.words):
            self._deliver(node, drop=False, name=names[0])
        for node in command.numbers("drop"):
            self._deliver(node, drop=True, name=names[0])

    def do_stabilize(self, command: Command) -> None:
        nodes = self._some(command)
        quiet, self.quiet = self.quiet, self.quiet or command.options.get("log-level") == ["none"]
        while self._round([self.members[node - 1] for node in nodes]):
            pass
        if self.quiet:
            self._lines = []
        self.quiet = quiet

    def _round(self, members: Sequence[Member]) -> bool:
        busy = False
        for member in members:
            if member.node.has_ready():
                self._print(f"> {member.settings.node} handling Ready")
                self._indented(lambda member=member: self._process_ready(member))  # type: ignore[misc]
                busy = True
        for member in members:
            node = member.settings.node
            if any(message.to == node for message in self.messages):
                self._print(f"> {node} receiving messages")
                self._indented(lambda node=node: self._deliver(node, drop=False, name=None))  # type: ignore[misc]
                busy = True
        for member in members:
            if member.stores:
                self._print(f"> {member.settings.node} processing append thread")
                while member.stores:
                    self._indented(lambda member=member: self._process_store(member))  # type: ignore[misc]
                busy = True
        for member in members:
            if member.applies:
                self._print(f"> {member.settings.node} processing apply thread")
                while member.applies:
                    self._indented(lambda member=member: self._process_apply(member))  # type: ignore[misc]
                busy = True
        return busy

    # Work

    def _deliver(self, to: int, drop: bool, name: str | None) -> None:
        taken: list[Delivered] = []
        kept: list[Delivered] = []
        for message in self.messages:
            local = isinstance(message, (Stored, Applied)) or message.sender == message.to
            wanted = message.to == to and not (drop and local) and name in (None, kind_of(message))
            (taken if wanted else kept).append(message)
        self.messages = kept
        for message in taken:
            self._print(("dropped: " if drop else "") + message_text(message))
            if drop:
                continue
            try:
                self.members[to - 1].node.step(message)
            except ProposalDropped:
                self._print("raft proposal dropped")
            except PeerUnknown:
                self._print("raft: cannot step as peer not found")

    def _process_ready(self, member: Member) -> None:
        if not member.node.has_ready():
            self._print("<empty Ready>")
            return
        ready = member.node.ready()
        state = ready.state or member.synced
        must_sync = bool(ready.entries) or (state.term, state.vote) != (member.synced.term, member.synced.vote)
        member.synced = state
        self._print(ready_text(ready, must_sync))
        if not member.settings.asynchronous:
            self._write(member, ready.state, ready.entries, ready.snapshot)
            self._apply(member, ready.committed)
        for message in messages_of(ready):
            if isinstance(message, Store):
                member.stores.append(message)
            elif isinstance(message, Apply):
                member.applies.append(message)
            else:
                self.messages.append(message)
        if not member.settings.asynchronous:
            member.node.advance()

    def _write(
        self, member: Member, state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        if state is not None:
            member.storage.state = state
        if snapshot is not None:
            member.storage.install(snapshot)
        member.storage.append(entries)

    def _apply(self, member: Member, entries: Sequence[Entry]) -> None:
        for entry in entries:
            last = member.storage.history[-1]
            configuration = last.configuration
            if entry.kind is not EntryKind.NORMAL:
                changed = member.node.apply_change(entry)
                assert changed is not None, "no script has a snapshot overtake what is applied"
                configuration = changed
            # A state machine that appends what it is told.
            body = last.body + (entry.body if entry.kind is EntryKind.NORMAL else b"")
            member.storage.history.append(Snapshot(entry.index, entry.term, configuration, body))

    def _process_store(self, member: Member) -> None:
        if not member.stores:
            self._print("no append work to perform")
            return
        store = member.stores.pop(0)
        silent = Store(store.sender, store.state, store.entries, store.snapshot, ())
        self._print("Processing:\n" + message_text(silent) + "\nResponses:")
        self._write(member, store.state, store.entries, store.snapshot)
        for reply in store.replies:
            self._print(message_text(reply))
        self.messages += store.replies

    def _process_apply(self, member: Member) -> None:
        if not member.applies:
            self._print("no apply work to perform")
            return
        apply = member.applies.pop(0)
        self._print("Processing:\n" + message_text(apply).partition(" Responses:[")[0] + "\nResponses:")
        self._apply(member, apply.entries)
        self._print(message_text(apply.reply))
        self.messages.append(apply.reply)


def kind_of(message: Delivered) -> str:
    if isinstance(message, (Vote, VoteReply)):
        return ("MsgPreVote" if message.pre else "MsgVote") + ("Resp" if isinstance(message, VoteReply) else "")
    return NAMES.get(type(message), "MsgStorageAppendResp" if isinstance(message, Stored) else "MsgStorageApplyResp")
