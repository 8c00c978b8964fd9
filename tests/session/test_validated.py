"""What ran at once and read what was not known to be all there is: given when that was validated, else run again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tsdb.errors import QueryCanceled
from tsdb.prompt import MayWait, Validation, validations
from tsdb.session import work
from tsdb.session.budget import Budget
from tsdb.session.cancellation import Cancellation
from tsdb.session.turns import Turns
from tsdb.session.work import Work
from tsdb.sql.pace import Pace


class Asked:
    """A query that reads what another node has to validate, and what becomes of it."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.cancellation = Cancellation()
        self.waits: list[work.WaitEvent | None] = []
        self.work = Work(self.pool, Budget(1 << 20), Turns(1), lambda: self.cancellation, self.waits.append)
        self.pace = Pace()
        self.pace.measured(lambda: None)
        self.validation = Validation()
        self.ran: list[str] = []
        self.undone: list[str] = []
        self.fails = False

    def run(self) -> str:
        waiting = validations()
        self.ran.append("thread" if waiting is None else "at once")
        if waiting is not None:
            waiting.append(self.validation)
            if self.fails:
                raise ZeroDivisionError
        return self.ran[-1]

    async def answer(self, undo: Callable[[str], None] | None = None) -> str:
        return await self.work.at_pace(self.pace, self.run, undo or self.undone.append)

    async def while_it_waits(self, do: Callable[[], object]) -> str:
        answering = asyncio.create_task(self.answer())
        while work.FOR_NODE not in self.waits:  # noqa: ASYNC110 (each turn may be it)
            await asyncio.sleep(0)
        assert not answering.done()
        do()
        return await answering


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.pool.shutdown()


def test_it_is_given_when_it_is_known_to_be_all(asked: Asked) -> None:
    answer = asyncio.run(asked.while_it_waits(lambda: asked.validation.say(True)))
    assert answer == "at once"
    assert (asked.ran, asked.undone) == (["at once"], [])
    assert asked.waits == [work.FOR_NODE, None]
    assert asked.pace.parts_max() is not None


def test_what_is_known_already_is_not_waited_for(asked: Asked) -> None:
    asked.validation.say(True)
    assert asyncio.run(asked.answer()) == "at once"
    assert asked.waits == []


def test_what_is_said_while_somebody_begins_to_wait_is_heard() -> None:
    for _ in range(500):
        validation, heard = Validation(), threading.Event()
        saying = threading.Thread(target=validation.say, args=(True,))
        saying.start()
        validation.when_said(heard.set)
        assert heard.wait(10)
        assert validation.holds
        saying.join()


def test_it_is_run_again_in_a_thread_when_it_was_not_all(asked: Asked) -> None:
    answer = asyncio.run(asked.while_it_waits(lambda: asked.validation.say(False)))
    asked.pool.shutdown()
    assert answer == "thread"
    assert (asked.ran, asked.undone) == (["at once", "thread"], ["at once"])
    # The next one is not tried at once.
    assert asked.pace.parts_max() is None


def test_it_is_run_again_when_nobody_says(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_VALID_S", 0.01)
    assert asyncio.run(asked.answer()) == "thread"
    asked.pool.shutdown()
    assert asked.undone == ["at once"]


def test_an_error_of_what_may_not_be_all_is_not_told(asked: Asked) -> None:
    asked.fails = True
    assert asyncio.run(asked.answer()) == "thread"
    assert asked.undone == []


def test_a_cancel_reaches_it(asked: Asked) -> None:
    with pytest.raises(QueryCanceled):
        asyncio.run(asked.while_it_waits(asked.cancellation.cancel))
    asked.pool.shutdown()
    assert asked.undone == ["at once"]
    # Who says it later says it to nobody.
    asked.validation.say(True)


def test_what_must_not_be_run_twice_reads_nothing_that_is_not_known(asked: Asked) -> None:
    def run() -> str:
        if validations() is None:
            asked.ran.append("thread" if asked.ran else "refused")
            if len(asked.ran) == 1:
                raise MayWait
        return asked.ran[-1]

    assert asyncio.run(asked.work.at_pace(asked.pace, run)) == "thread"
