"""What a node's log says of the replicated databases: one line for what happened to a database, not one a location."""

from __future__ import annotations

import logging

import msgspec
import pytest

from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.lead_log import LeadLog

HERE = 2
LOCATIONS = [LocationRecord(number, 7, 1, 1, (1, 3)) for number in range(1, 33)]


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tsdb.cluster.replicas.lead_log")


def one_by_one(watched: LeadLog, **changed: object) -> None:
    for record in LOCATIONS:
        watched.look({record.location: msgspec.structs.replace(record, **changed)})


def test_what_changes_one_location_after_the_other_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watched = LeadLog(HERE)
    watched.start(LOCATIONS)
    assert not watched.has_news
    one_by_one(watched, learners=(HERE,))
    one_by_one(watched, voters=(1, HERE, 3), leader=HERE)
    assert watched.has_news
    watched.say(State())
    assert caplog.messages == [
        "this node gets a replica of database 7 (32 locations)",
        "node 2 leads database 7, after node 1 (32 locations)",
    ]
    assert not watched.has_news


def test_the_last_database_that_leaves_a_node_is_said(caplog: pytest.LogCaptureFixture) -> None:
    watched = LeadLog(HERE)
    watched.start([msgspec.structs.replace(LOCATIONS[0], voters=(1, HERE))])
    watched.look({1: LOCATIONS[0]})
    watched.say(State())
    assert caplog.messages == ["this node no longer has a replica of database 7 (1 location)"]


def test_what_becomes_shared_was_here_before(caplog: pytest.LogCaptureFixture) -> None:
    watched = LeadLog(HERE)
    watched.start([])
    one_by_one(watched, voters=(HERE,), learners=(1,), leader=HERE)
    watched.say(State())
    assert caplog.messages == ["node 2 leads database 7 (32 locations)"]


def test_what_was_and_is_no_more_between_two_looks_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    watched = LeadLog(HERE)
    watched.start(LOCATIONS)
    one_by_one(watched, voters=(1, HERE), leader=HERE)
    one_by_one(watched)
    watched.look({1: None})
    watched.say(State())
    assert caplog.messages == []
