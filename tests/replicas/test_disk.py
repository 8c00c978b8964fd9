"""What a replica has on its disk: ops in their format, a tail that no start applies, truncation with what comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.sim.disk import Disk
from tsdb.cluster.replicas import ops as format_of_ops
from tsdb.cluster.replicas.disk import ReplicaDisk, encode_state
from tsdb.cluster.replication.ops import GENESIS, WRITES, LocationState, Op, OpKind, chained
from tsdb.cluster.replication.ready import Batch
from tsdb.errors import DataCorrupted
from tsdb.storage import keys
from tsdb.storage.op import OpHeader, decode_header, encode_op
from tsdb.storage.replica_log import LEFT, ReplicaLog, ReplicaRecord

LOCATION = 7
numbers = st.integers(0, 2**48 - 1)


def op_of(sequence: int, epoch: int = 1, body: bytes = b"", before: bytes = GENESIS) -> Op:
    op = Op(sequence, epoch, OpKind.WRITE, low=3, high=9, first_counter=10 * sequence, rows=2, origin=5, body=body)
    return replace(op, chain=chained(op, before))


def log_of(count: int, epoch: int = 1, after: Op | None = None) -> list[Op]:
    found: list[Op] = []
    for _ in range(count):
        last = found[-1] if found else after
        sequence = last.sequence + 1 if last else 1
        found.append(op_of(sequence, epoch, b"%d.%d" % (epoch, sequence), last.chain if last else GENESIS))
    return found


def batch_of(*ops: Op, promised: int | None = None, base: int | None = None, after: int | None = None) -> Batch:
    return Batch(promised, None, base, after, (), ops)


class Setting:
    def __init__(self) -> None:
        self.disk = Disk()
        self.log = ReplicaLog(self.disk)
        batch = self.disk.batch()
        self.log.put(batch, LOCATION, ReplicaRecord(1))
        self.disk.write(batch, sync=True)
        self.open()

    def open(self) -> None:
        record = self.log.record(LOCATION)
        assert record is not None
        self.replica = ReplicaDisk(self.log, LOCATION, record)

    def write(self, ready: Batch) -> None:
        batch = self.disk.batch()
        self.replica.write(batch, ready)
        self.disk.write(batch, sync=True)


@given(
    st.sampled_from(OpKind), numbers, numbers, numbers, numbers, numbers, st.integers(0, 2**15 - 1),
    st.binary(max_size=40), st.binary(min_size=16, max_size=16),
)  # fmt: skip
def test_an_op_comes_back_from_its_format(
    kind: OpKind, sequence: int, client: int, acknowledged: int, index: int, counter: int, origin: int, body: bytes,
    chain: bytes,
) -> None:  # fmt: skip
    covers = (5, 2**64 - 1) if kind in WRITES else (0, 0)
    op = Op(
        sequence, 3, kind, client, 4, acknowledged, *covers, 2, -5, counter, 6, index, origin, body, chain,
    )  # fmt: skip
    data = format_of_ops.encode(LOCATION, op)
    assert format_of_ops.decode(LOCATION, data) == op
    assert decode_header(data).first_counter == origin << 48 | counter
    with pytest.raises(DataCorrupted):
        format_of_ops.decode(LOCATION + 1, data)


def test_ops_of_one_node_alone_are_no_ops_of_replicas() -> None:
    data = encode_op(OpHeader(OpKind.WRITE, 1, LOCATION, 1, 0, 9, 1, 0, 0), b"")
    with pytest.raises(DataCorrupted, match="no op of replicas"):
        format_of_ops.decode(LOCATION, data)


def test_a_promise_and_ops_are_there_after_a_restart_and_nothing_of_them_is_applied() -> None:
    setting = Setting()
    ops = log_of(3)
    setting.write(batch_of(*ops, promised=4))
    setting.open()
    kept = setting.replica.kept()
    assert (kept.promised, kept.base, kept.state) == (4, 0, LocationState())
    assert setting.replica.ops(1) == ops
    assert setting.replica.ops(2, 1) == ops[1:2]


def test_what_is_truncated_goes_in_the_batch_that_brings_other_ops_in_its_place() -> None:
    setting = Setting()
    ops = log_of(4)
    setting.write(batch_of(*ops))
    other = log_of(1, 2, ops[1])
    setting.write(batch_of(*other, after=2))
    setting.open()
    assert setting.replica.ops(1) == [*ops[:2], *other]


def test_forgotten_ops_go_and_the_base_says_so() -> None:
    setting = Setting()
    ops = log_of(5)
    setting.write(batch_of(*ops))
    setting.write(batch_of(base=3))
    setting.open()
    assert setting.replica.kept().base == 3
    assert setting.replica.ops(4) == ops[3:]
    assert setting.disk.get("ops", keys.op_key(LOCATION, 3)) is None


def test_a_gap_and_a_broken_chain_are_damage() -> None:
    setting = Setting()
    ops = log_of(3)
    setting.write(batch_of(ops[0], ops[2]))
    with pytest.raises(DataCorrupted, match="op 3 is there where 2 is due"):
        setting.replica.ops(1)
    setting = Setting()
    setting.write(batch_of(ops[0], replace(ops[1], body=b"another")))
    with pytest.raises(DataCorrupted, match="does not continue the chain"):
        setting.replica.ops(1)


def test_flushed_points_are_where_the_replica_goes_on_and_the_tail_stays() -> None:
    setting = Setting()
    ops = log_of(4)
    setting.write(batch_of(*ops, promised=1))
    state = LocationState(2, ((1, 2),), ops[1].chain, 21)
    batch = setting.disk.batch()
    setting.replica.put_flushed(batch, 2, encode_state(state))
    setting.disk.write(batch, sync=True)
    setting.open()
    assert setting.replica.kept().state == state
    assert setting.replica.ops(3) == ops[2:]
    broken = replace(state, chain=bytes(16))
    batch = setting.disk.batch()
    setting.replica.put_flushed(batch, 2, encode_state(broken))
    with pytest.raises(DataCorrupted, match="does not continue the chain"):
        setting.replica.ops(3)


def test_one_that_left_is_remembered_and_one_whose_database_is_gone_is_not() -> None:
    setting = Setting()
    setting.write(batch_of(*log_of(2)))
    batch = setting.disk.batch()
    setting.log.leave(batch, LOCATION)
    setting.disk.write(batch, sync=True)
    assert setting.log.all() == {LOCATION: LEFT}
    assert not [*setting.disk.scan("ops")]
    batch = setting.disk.batch()
    setting.log.drop(batch, LOCATION)
    setting.disk.write(batch, sync=True)
    assert setting.log.all() == {}
