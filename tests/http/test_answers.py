"""Which status tells a client to send the same again."""

from __future__ import annotations

from tsdb.errors import PointsBeyondRetention
from tsdb.http.answers import exception_reply
from tsdb.http.request import Api


def test_a_floor_that_rose_while_a_body_was_written_does_not_cost_its_other_points() -> None:
    # Points below a known floor are dropped before the write and answered by their number.
    reply = exception_reply(next(iter(Api)), PointsBeyondRetention("points beyond retention policy"))
    assert reply.status == 503
    assert "Retry-After" in reply.headers
