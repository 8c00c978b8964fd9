"""Who a data directory is: made with it, and gone with it.

The uuid stands for what this disk has promised to others. It lies in the same store as that (family ``state``, which
no snapshot touches here), so whoever loses the one has lost the other, and comes back as somebody else.
Layout: docs/format/keys.md.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from tsdb.errors import DataCorrupted
from tsdb.storage import keys
from tsdb.storage.frame import seal, unseal
from tsdb.storage.raft_log import Records

MAGIC = b"TY"
VERSION = 1
NAME = "identity"
FAMILY = "state"
NO_NODE = 0


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """``node`` 0 and ``cluster`` all zero: it has joined no cluster yet, and asks to under this uuid."""

    uuid: UUID
    cluster: UUID = UUID(int=0)
    node: int = NO_NODE

    @property
    def joined(self) -> bool:
        return self.node != NO_NODE


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Identity)


def load(records: Any) -> Identity | None:
    """None: a directory that has none yet. Raises DataCorrupted."""
    value = records.get(FAMILY, keys.state_key(NAME))
    if value is None:
        return None
    try:
        return _DECODER.decode(unseal(value, MAGIC, VERSION, "the identity of the data directory"))
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"the identity of the data directory: {error}") from error


def store(records: Records, identity: Identity) -> None:
    """Durable when this returns."""
    batch = records.batch()
    batch.put(FAMILY, keys.state_key(NAME), seal(MAGIC, VERSION, _ENCODER.encode(identity)))
    records.write(batch, sync=True)
