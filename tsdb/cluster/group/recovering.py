"""A cluster of one node out of what one node has, when most voters are lost: an operator's last resort.

Nothing here asks others, and so nothing is known of what they have committed beyond this node's log. All of that log is
kept. The cluster gets another id, so that a node of the old one can never be taken for one of the new.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from msgspec.structs import replace

from tsdb.cluster.alone import Alone
from tsdb.cluster.etcd.directory import check_follows_none
from tsdb.cluster.metadata.commands import Recover
from tsdb.cluster.metadata.durable import StoredMetadata
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP
from tsdb.cluster.raft.entries import Configuration, EntryKind
from tsdb.cluster.raft_store import RaftStore
from tsdb.errors import DataCorrupted, ObjectNotInPrerequisiteState, StartupError
from tsdb.storage.engine import Engine
from tsdb.storage.identity import Identity
from tsdb.storage.options import Options
from tsdb.storage.raft_log import RaftLog


def recover(path: Path, options: Options | None = None) -> tuple[list[int], Identity]:
    """The nodes that were given up, and who the directory is now. Interrupted, it can be done again.

    Raises StartupError; ObjectNotInPrerequisiteState for a directory that has no metadata of a cluster.
    """
    options = options or Options()
    engine = Engine.open(path, options)
    try:
        check_follows_none(engine)
        known = engine.identity
        if known is None or not known.joined or not RaftLog(engine.records, METADATA_GROUP).applied_index:
            raise ObjectNotInPrerequisiteState(f"{path} has no metadata of a cluster, and so nothing to recover")
        node, uuid = known.node, known.uuid
        engine.call(lambda: _be_alone(engine, node))
        alone = Alone(engine, options)
        cluster = uuid4()
        gone = alone.propose(Recover(node, cluster.bytes)).values
        recovered = Identity(uuid, UUID(bytes=alone.state.group.cluster), node)
        engine.call(lambda: engine.identify(recovered))
        return list(gone), recovered
    except DataCorrupted as error:
        raise StartupError(f"the metadata in {path} is damaged: {error}") from error
    finally:
        engine.close()


def _be_alone(engine: Engine, node: int) -> None:
    """Have this node be the only voter, and no change of members left in the log to be applied."""
    store = RaftStore(engine.records, METADATA_GROUP, StoredMetadata(engine.records, engine, engine.catalog))
    log = store.log
    left = (
        store.entries(log.applied_index + 1, log.last_index + 1, 1 << 62) if log.last_index > log.applied_index else []
    )
    store.force(
        Configuration((node,)),
        [replace(e, kind=EntryKind.NORMAL, body=b"") if e.kind is not EntryKind.NORMAL else e for e in left],
    )
