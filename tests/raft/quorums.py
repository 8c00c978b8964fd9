"""Commands of the quorum and confchange files."""

from __future__ import annotations

from tests.raft.environment import member_changes
from tests.raft.script import Command
from tsdb.cluster.raft import quorum
from tsdb.cluster.raft.changes import Change, ChangeRefused, Draft, Transition
from tsdb.cluster.raft.entries import NO_LIMIT, Configuration
from tsdb.cluster.raft.progress import Inflights, Progress


class Quorums:
    """``committed`` and ``vote``."""

    def run(self, command: Command) -> str:
        voters = sorted(set(command.numbers("cfg")))
        outgoing = sorted(set(command.numbers("cfgj")))
        # Values belong to ids in the order in which both configurations name them.
        named = list(dict.fromkeys(command.numbers("cfg") + command.numbers("cfgj")))
        configuration = Configuration(tuple(voters), tuple(outgoing))
        joint = "cfgj" in command.options
        if command.name == "vote":
            words = dict(zip(named, command.options.get("votes", []), strict=False))
            votes = {node: word == "y" for node, word in words.items() if word != "_"}
            return quorum.vote_result(configuration, votes).value
        words = dict(zip(named, command.options.get("idx", []), strict=False))
        indexes = {node: int(word) for node, word in words.items() if word != "_"}
        result = quorum.committed(configuration, indexes)
        text = self.describe(sorted({*voters, *outgoing}), indexes, joint)
        return text + ("∞" if result >= NO_LIMIT else str(result))

    def describe(self, voters: list[int], indexes: dict[int, int], joint: bool) -> str:
        if not voters:
            return "<empty majority quorum>"
        order = sorted(voters, key=lambda node: (indexes.get(node, 0), node))
        bars = dict.fromkeys(voters, 0)
        for at in range(1, len(order)):
            before, node = order[at - 1], order[at]
            bars[node] = at if indexes.get(before, 0) < indexes.get(node, 0) else bars[before]
        width = len(voters)
        text = " " * width + "    idx\n"
        for node in voters:
            bar = "x" * bars[node] + ">" + " " * (width - bars[node]) if node in indexes else "?" + " " * width
            text += f"{bar} {indexes.get(node, 0):5}    (id={node})\n"
        return text


class Changes:
    """``simple``, ``enter-joint``, ``leave-joint``, ``autoleave=``."""

    def __init__(self) -> None:
        self.configuration = Configuration()
        self.members: dict[int, Progress] = {}
        self.last_index = 0

    def run(self, command: Command) -> str:
        draft = Draft(self.configuration, self.members, self.last_index, lambda: Inflights(10))
        self.last_index += 1
        members = member_changes(command.input)
        try:
            if command.name == "simple":
                self.configuration = draft.simple(members)
            elif command.name == "enter-joint":
                transition = Transition.IMPLICIT if command.flag("autoleave") else Transition.EXPLICIT
                self.configuration = draft.enter(Change(members, transition))
            else:
                self.configuration = draft.leave()
        except ChangeRefused as refused:
            return str(refused)
        self.members = draft.members
        return "\n".join([str(self.configuration), *(f"{n}: {p}" for n, p in sorted(self.members.items()))])
