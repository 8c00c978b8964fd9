"""Reads on their way through a node's replicas."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest

from tsdb.cluster.replicas.reading import Opening
from tsdb.cluster.replication.clients import ReadAt
from tsdb.errors import CannotConnectNow
from tsdb.model.freshness import Token
from tsdb.storage.view import StorageView


class Shown:
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("applied", "is_there"), [({1: (1, 5), 2: (1, 7)}, True), ({2: (1, 7)}, False)])
def test_what_has_left_this_node_while_another_location_was_waited_for_is_not_read(
    applied: Token, is_there: bool
) -> None:
    view = Shown()
    future: Future[Any] = Future()
    opening = Opening(future, 2, lambda: (cast(StorageView, view), applied))
    opening.told(1, ReadAt(1, 1, 5, 0))
    opening.told(2, ReadAt(2, 1, 7, 7))
    if is_there:
        assert future.result().view is view
    else:
        with pytest.raises(CannotConnectNow, match="has just left this node"):
            future.result()
    assert view.closed != is_there
