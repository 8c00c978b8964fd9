"""How new what a session's queries read has to be, as its settings say, and what the session has seen.

``tsdb.read_token`` is no setting that is kept: it shows what the session has seen, and SET adds to that.
"""

from __future__ import annotations

from tsdb.model.freshness import Freshness, Level, Seen, text_of, token_of
from tsdb.session.variables import Variables
from tsdb.sql.settings.setting import milliseconds

TOKEN = "tsdb.read_token"


class Reads:
    """Of one session."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self.seen = Seen()
        self._newest = Freshness(seen=self.seen)
        variables.make_live(TOKEN, self)

    def freshness(self) -> Freshness:
        level = Level(self._variables.get("tsdb.read_level"))
        if level is Level.LINEARIZABLE:
            return self._newest
        staleness_ms = milliseconds(self._variables.get("tsdb.read_staleness")) if level is Level.BOUNDED else 0
        return Freshness(level, staleness_ms * 1_000_000, self.seen)

    # ``variables.Live``

    def shown(self) -> str:
        return text_of(self.seen.token)

    def told(self, text: str) -> None:
        self.seen.add(token_of(text))

    def reset(self) -> None:
        self.seen.forget()
