"""How new what a session's queries read has to be and on how many replicas what it writes, as its settings say, and
what the session has seen and written.

``tsdb.read_token`` is no setting that is kept: it shows what the session has seen, and SET adds to that.
``tsdb.write_token`` shows what its last write was.
"""

from __future__ import annotations

from tsdb.model.acks import acks_of
from tsdb.model.freshness import Freshness, Level, Ops, Seen, ops_in, ops_of, text_of, token_of
from tsdb.session.variables import Variables
from tsdb.sql.settings.setting import milliseconds

TOKEN = "tsdb.read_token"
WRITE_TOKEN = "tsdb.write_token"


class Reads:
    """Of one session."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self.seen = Seen()
        self._newest = Freshness(seen=self.seen, anywhere=True)
        variables.make_live(TOKEN, self)

    def freshness(self) -> Freshness:
        level = Level(self._variables.get("tsdb.read_level"))
        if level is Level.LINEARIZABLE:
            return self._newest
        staleness_ms = milliseconds(self._variables.get("tsdb.read_staleness")) if level is Level.BOUNDED else 0
        return Freshness(level, staleness_ms * 1_000_000, self.seen)

    # ``variables.Live``

    def shown(self) -> str:
        return text_of(ops_in(self.seen.token))

    def told(self, text: str) -> None:
        self.seen.add(token_of(ops_of(text)))

    def reset(self) -> None:
        self.seen.forget()


class Writes:
    """Of one session."""

    def __init__(self, variables: Variables, seen: Seen) -> None:
        self._variables = variables
        self.seen = seen
        self._last: Ops = ()
        variables.make_live(WRITE_TOKEN, self)

    def acks(self) -> int | None:
        """None: as the series say."""
        text = self._variables.get("tsdb.acks")
        return None if text == "default" else acks_of(text)

    def wrote(self, ops: Ops) -> None:
        self._last = ops
        self.seen.wrote(ops)

    # ``variables.Live``

    def shown(self) -> str:
        return text_of(self._last)

    def told(self, text: str) -> None:
        """No client may set it."""

    def reset(self) -> None:
        self._last = ()
