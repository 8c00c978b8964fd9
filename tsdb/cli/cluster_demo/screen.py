"""What the demo says: events one a line, and how writing goes, on a terminal in a line that is written anew."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tsdb.cli.cluster_demo.nodes import DemoNodes
from tsdb.cli.cluster_demo.writer import Writer
from tsdb.errors import StartupError

POLL_S = 0.01
PLAIN_S = 1.0
PATIENT_S = 10.0
"""So often a line says how writing goes where none can be written anew."""
SILENT_S = 0.25
PATIENCE_S = 120.0


class Screen:
    """``writer`` is None until it writes."""

    def __init__(self, console: Console, nodes: DemoNodes) -> None:
        self.console = console
        self._nodes = nodes
        self._began = time.monotonic()
        self._writer: Writer | None = None
        self._rate = _Rate()
        self.leader = 0

    def shows(self, writer: Writer) -> None:
        self._writer = writer

    def say(self, text: str, style: str = "") -> None:
        """An event, with the seconds since the demo began."""
        at = f"{time.monotonic() - self._began:6.1f} s  "
        self.console.print(Text.assemble((at, "dim"), (text, style)), soft_wrap=True)

    def until(self, look: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
        """Show how it goes until ``look`` says so. Raises StartupError after ``seconds``, or when something failed."""
        end = time.monotonic() + seconds
        if self._watch(look, end, what):
            return
        raise StartupError(f"{what} took longer than {seconds:g} s; logs of the nodes: {self._nodes.folder}")

    def pause(self, seconds: float) -> None:
        """Show how it goes for so long."""
        self._watch(lambda: False, time.monotonic() + seconds, "")

    def _watch(self, look: Callable[[], bool], end: float, what: str) -> bool:
        if self.console.is_terminal:
            with Live(console=self.console, get_renderable=lambda: self._line(what), transient=True):
                return self._wait(look, end, lambda: None)
        self._plain_at = time.monotonic() + PLAIN_S
        return self._wait(look, end, lambda: self._plain(what))

    def _wait(self, look: Callable[[], bool], end: float, shown: Callable[[], None]) -> bool:
        while not look():
            if time.monotonic() > end:
                return False
            self._nodes.check()
            if self._writer is not None and self._writer.refusal:
                raise StartupError(self._writer.refusal)
            shown()
            time.sleep(POLL_S)
        return True

    def _plain(self, what: str) -> None:
        if time.monotonic() < self._plain_at:
            return
        if self._writer is not None:
            self._plain_at += PLAIN_S
            self.console.print(self._line(what), soft_wrap=True)
        elif what:
            self._plain_at += PATIENT_S
            self.say(f"{what} …", "dim")

    def _line(self, what: str) -> Text:
        line = Text(f"{time.monotonic() - self._began:6.1f} s  ", "dim")
        for node in self._nodes:
            state, style = ("up", "green") if node.is_up else ("DOWN", "bold red")
            if node.is_up and node.number == self.leader:
                state = "leads"
            line.append(f"{node.name} ").append(state, style).append(" · ")
        writer = self._writer
        if writer is None:
            return line.append(what)
        rate = self._rate.of(writer.points)
        line.append(f"{writer.points:,} points acknowledged" + ("" if rate is None else f", {rate:,.0f}/s"))
        silent = time.monotonic() - writer.latest
        if silent > SILENT_S:
            line.append(f", none for {silent * 1e3:,.0f} ms", "yellow")
        return line


class _Rate:
    """Of a number that grows, over the last seconds; None where nobody has looked at it then."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def of(self, number: int) -> float | None:
        now = time.monotonic()
        self._seen = [each for each in self._seen if each[0] > now - 2.5]
        self._seen.append((now, number))
        (first, least), (last, most) = self._seen[0], self._seen[-1]
        return (most - least) / (last - first) if last > first else None
