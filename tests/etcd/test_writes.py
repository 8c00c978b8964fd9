"""Writes at nodes over etcd, which do not reach each other: what is not theirs is refused and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.etcd.nodes import nodes
from tests.fixtures.etcd import Etcd
from tsdb.cluster.node import Node
from tsdb.errors import LocationElsewhere
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.store import Store
from tsdb.storage.options import Options


def write(store: Store, database: str) -> None:
    for future in submit(store, WriteRequest(database), b"cpu v=1 1", 1, Limits(), True).futures:
        future.result()


def test_a_refused_write_makes_no_database(shared_etcd: Etcd, tmp_path: Path) -> None:
    with nodes(shared_etcd, "writes", tmp_path, 2) as found:
        one, two = (Node(each.engine, each.agreement, Options()) for each in found)
        made, refused = set(), set()
        for number in range(10):
            try:
                write(two, f"new{number}")
            except LocationElsewhere as error:
                assert f'database "new{number}", which this write would make, is at node 1' in error.message
                refused.add(f"new{number}")
                two.agreement.wait_readable()
                assert f"new{number}" not in two.catalog.databases
                # At the other node it is made.
                write(one, f"new{number}_there")
            else:
                made.add(f"new{number}")
        assert made
        assert refused
        with pytest.raises(LocationElsewhere, match=r'a part of database "new._there" is at node 1'):
            write(two, f"{min(refused)}_there")
