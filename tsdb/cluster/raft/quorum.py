"""Majorities, plain and joint: what is committed, who has won. The empty set agrees to everything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from tsdb.cluster.raft.entries import NO_LIMIT, Configuration


class VoteResult(Enum):
    PENDING = "VotePending"
    LOST = "VoteLost"
    WON = "VoteWon"


def committed_by_majority(voters: Collection[int], indexes: Mapping[int, int]) -> int:
    """The highest index that a majority has; a voter without an index has none. NO_LIMIT of no voters."""
    if not voters:
        return NO_LIMIT
    known = sorted((indexes.get(node, 0) for node in voters), reverse=True)
    return known[len(voters) // 2]


def vote_of_majority(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Who has not voted yet may still do either."""
    if not voters:
        return VoteResult.WON
    granted = sum(1 for node in voters if votes.get(node) is True)
    missing = sum(1 for node in voters if node not in votes)
    majority = len(voters) // 2 + 1
    if granted >= majority:
        return VoteResult.WON
    return VoteResult.PENDING if granted + missing >= majority else VoteResult.LOST


def committed(configuration: Configuration, indexes: Mapping[int, int]) -> int:
    """In a joint configuration what both majorities have (thesis, 4.3)."""
    incoming = committed_by_majority(configuration.voters, indexes)
    if not configuration.outgoing:
        return incoming
    return min(incoming, committed_by_majority(configuration.outgoing, indexes))


def vote_result(configuration: Configuration, votes: Mapping[int, bool]) -> VoteResult:
    """In a joint configuration an election is won by both majorities and lost by one."""
    results = vote_of_majority(configuration.voters, votes), vote_of_majority(configuration.outgoing, votes)
    if results[0] is results[1]:
        return results[0]
    return VoteResult.LOST if VoteResult.LOST in results else VoteResult.PENDING
