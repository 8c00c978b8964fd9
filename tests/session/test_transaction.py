"""The core of transactions, without anything around it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.test_values import points
from tsdb.errors import InFailedSqlTransaction, InvalidSavepointSpecification, NoActiveSqlTransaction, OutOfMemory
from tsdb.model.points import encode_tagset
from tsdb.model.store import KeyDeletion
from tsdb.session.transaction import State, Transaction
from tsdb.sql.dml.modification import Write


def written(value: int) -> Write:
    return Write(points([value], ["a"], [1.0]))


def times(transaction: Transaction) -> list[int]:
    return [time for effect in transaction.pending.effects() if isinstance(effect, Write)
            for time in effect.points.times.tolist()]  # fmt: skip


def test_an_implicit_transaction_ends_with_its_message() -> None:
    transaction = Transaction()
    assert transaction.start(7)
    assert not transaction.start(8)
    assert (transaction.state, transaction.started_us, transaction.status) == (State.IMPLICIT, 7, "I")
    transaction.add(written(1))
    assert len(transaction.take()) == 1
    transaction.end()
    assert transaction.state is State.IDLE


def test_an_error_outside_a_block_drops_what_was_collected() -> None:
    transaction = Transaction()
    transaction.start(0)
    transaction.add(written(1))
    transaction.fail()
    assert (transaction.state, times(transaction), transaction.pending_bytes) == (State.IDLE, [], 0)


def test_a_failed_block_accepts_nothing() -> None:
    transaction: Transaction = Transaction()
    assert transaction.begin(0)
    assert not transaction.begin(0)
    transaction.fail()
    assert transaction.status == "E"
    with pytest.raises(InFailedSqlTransaction):
        transaction.check()


def test_savepoints_outside_a_block_are_refused() -> None:
    transaction: Transaction = Transaction()
    with pytest.raises(NoActiveSqlTransaction, match="SAVEPOINT can only be used in transaction blocks"):
        transaction.savepoint("a")


def test_what_a_transaction_holds_is_bounded() -> None:
    transaction = Transaction(pending_bytes_max=2000)
    transaction.begin(0)
    with pytest.raises(OutOfMemory, match="holds more than"):
        for value in range(1000):
            transaction.add(written(value))
    assert transaction.pending_bytes <= 2000


def test_what_savepoints_keep_counts_once() -> None:
    transaction = Transaction()
    transaction.begin(0)
    transaction.add(Write(points(list(range(5000)), ["a"] * 5000, [1.0] * 5000)))
    alone = transaction.pending_bytes
    for _ in range(100):
        transaction.savepoint("s")
    assert transaction.pending_bytes == alone
    # A deletion makes a new chunk, and the savepoints keep the old one.
    transaction.start_statement()
    transaction.add(KeyDeletion(points([0], ["a"], [1.0]).series, [encode_tagset([(2, "a")])], np.zeros(1, np.int32),
                                np.array([7], np.int64), np.array([0], np.int64)))  # fmt: skip
    assert 1.9 * alone < transaction.pending_bytes < 2.1 * alone
    transaction.rollback_to("s")
    assert transaction.pending_bytes == alone


@dataclass
class Model:
    """A block as a list of effects and copies of it."""

    effects: list[int] = field(default_factory=list)
    saved: list[tuple[str, list[int]]] = field(default_factory=list)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["savepoint", "release", "rollback"]), st.sampled_from("ab")),
        st.tuples(st.just("fail"), st.just(0)),
    )
)


@given(STEPS)
def test_savepoints_are_what_copies_of_the_effects_would_be(steps: list[tuple[str, int | str]]) -> None:
    transaction: Transaction = Transaction()
    transaction.begin(0)
    model = Model()
    for step, argument in steps:
        if step == "fail":
            transaction.fail()
        elif step == "rollback":
            _rollback_both(transaction, model, str(argument))
        elif transaction.state is State.BLOCK:
            _do_both(transaction, model, step, argument)
        assert times(transaction) == model.effects


def _rollback_both(transaction: Transaction, model: Model, name: str) -> None:
    depths = [i for i, (each, _) in enumerate(model.saved) if each == name]
    if not depths:
        with pytest.raises(InvalidSavepointSpecification):
            transaction.rollback_to(name)
        return
    assert transaction.rollback_to(name) == depths[-1] + 1
    model.effects = list(model.saved[depths[-1]][1])
    del model.saved[depths[-1] + 1 :]
    assert transaction.state is State.BLOCK


def _do_both(transaction: Transaction, model: Model, step: str, argument: int | str) -> None:
    if step == "add":
        transaction.add(written(int(argument)))
        model.effects.append(int(argument))
    elif step == "savepoint":
        transaction.savepoint(str(argument))
        model.saved.append((str(argument), list(model.effects)))
    elif any(name == argument for name, _ in model.saved):
        depth = transaction.release(str(argument))
        del model.saved[depth - 1 :]
