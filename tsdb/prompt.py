"""Work that must not wait: what the event loop does itself instead of handing it to a thread.

A trip to a thread and back wakes two threads, and on a machine that was idle each begins with a cold cache: half as
much time again as a small statement takes. Such a statement is run where its message was read. Whatever may wait or
last says so *before* it begins (``may_wait``, ``reads``) and raises ``MayWait`` there; then the statement is closed
and run in a thread from its start. So nothing on the event loop reads a disk, waits for a write or asks DuckDB, by
whichever way it got there.

    with Run(parts_max=8) as run:
        …                             a scan says ``reads(3)``, a read of a disk ``may_wait()``
    run.parts                         how many it looked at

One thing it need not wait for before it goes on: whether what it reads here is all there is, which other nodes say
(``validations``). It reads what is there meanwhile, and whoever runs it waits for the *validation* before the result
is given to anybody; where that says no, all is done again in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias


class Validation:
    """Whether what was read is as new as it has to be: said once, by any thread, and heard by one. Making and answering
    a future instead would show in the time that a small statement takes."""

    def __init__(self) -> None:
        self.holds: bool | None = None
        """None: nobody has said it yet."""
        self._hear: Callable[[], object] | None = None

    def say(self, holds: bool) -> None:
        self.holds = holds
        # Who sets it looks afterwards at what was said: one of both sees the other.
        if self._hear is not None:
            self._hear()

    def when_said(self, hear: Callable[[], object]) -> None:
        """``hear`` is called when it is said, in the thread that says it, or now; it may be called twice."""
        self._hear = hear
        if self.holds is not None:
            hear()


Validations: TypeAlias = list[Validation]


class MayWait(Exception):
    """Nothing that lasts has happened: it may be done again in a thread. Never reaches a client."""


class Run:
    """What one thread does meanwhile. ``parts_max``: it must not wait, and not look at more parts of series than that
    (blocks, runs of a head and so many of its rows); None: it may take its time. ``validations``: where those are put
    that its result then waits for; None: it waits for none."""

    def __init__(self, parts_max: int | None = None, validations: Validations | None = None) -> None:
        self.parts_max = parts_max
        self.validations = validations
        self.parts = 0
        self._outer: Run | None = None

    def __enter__(self) -> Run:
        self._outer, _own.run = _own.run, self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _own.run = self._outer


class _Own(threading.local):
    run: Run | None = None


_own = _Own()


def is_prompt() -> bool:
    """Whether this thread must not wait now."""
    run = _own.run
    return run is not None and run.parts_max is not None


def may_wait() -> None:
    """Said before what reads a disk, waits for somebody or may take long. Raises MayWait."""
    run = _own.run
    if run is not None and run.parts_max is not None:
        raise MayWait


def validations() -> Validations | None:
    """Where to put what the result of this thread's run is to wait for; None: it would be given as it is."""
    run = _own.run
    return None if run is None else run.validations


def reads(parts: int) -> None:
    """Said before parts of a series are looked at. Raises MayWait when these are more than fit."""
    run = _own.run
    if run is not None:
        run.parts += parts
        if run.parts_max is not None and run.parts > run.parts_max:
            raise MayWait
