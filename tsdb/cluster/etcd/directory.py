"""Which log in etcd a data directory follows: one, for ever, or none at all.

A directory keeps its metadata in a log of its own or follows one in etcd. Both would be two histories of one schema, so
each way to agree looks here before it begins.
"""

from __future__ import annotations

from tsdb.cluster.etcd.layout import ID_BYTES, MAGIC, VERSION
from tsdb.errors import DataCorrupted, StartupError
from tsdb.storage import keys
from tsdb.storage.engine import Engine
from tsdb.storage.frame import seal, unseal

NAME = "etcd"
FAMILY = "state"


def followed(engine: Engine) -> bytes:
    """The log's id; empty for a directory that follows none. Raises DataCorrupted."""
    value = engine.records.get(FAMILY, keys.state_key(NAME))
    return b"" if value is None else bytes(unseal(value, MAGIC, VERSION, "the id of the log in etcd"))


def follow(engine: Engine, log_id: bytes) -> None:
    """From now on, durably. Raises DataCorrupted."""
    if len(log_id) != ID_BYTES:
        raise DataCorrupted(f"the id of the command log in etcd has {len(log_id)} bytes, not {ID_BYTES}")
    batch = engine.records.batch()
    batch.put(FAMILY, keys.state_key(NAME), seal(MAGIC, VERSION, log_id))
    engine.call(lambda: engine.records.write(batch, sync=True))


def check_follows_none(engine: Engine) -> None:
    """Raises StartupError for a directory whose metadata is in etcd; DataCorrupted."""
    if followed(engine):
        raise StartupError(
            "the metadata of this data directory is kept in etcd: give --metadata etcd://HOST:PORT,… (tsdb start, tsdb "
            "user, tsdb cluster)"
        )
