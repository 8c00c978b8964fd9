"""One session's settings: what was SET, what holds until the transaction ends, and what RESET goes back to.

A transaction that is rolled back takes its SETs with it; SET LOCAL ends with its transaction either way (manual, SET).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from tsdb.errors import ConfigurationLimitExceeded, UndefinedObject
from tsdb.sql import settings

# Outside a transaction that says otherwise, these are what default_… says.
CUSTOM_MAX = 1_000
OF_TRANSACTION = ("transaction_isolation", "transaction_read_only", "transaction_deferrable")


class Live(Protocol):
    """Whose value is not kept here: it is what somebody else knows, in no transaction."""

    def shown(self) -> str: ...

    def told(self, text: str) -> None: ...

    def reset(self) -> None: ...


class Variables:
    """Names are lower case inside. ``generation`` rises with every change."""

    def __init__(self) -> None:
        self._start: dict[str, str] = {}
        # Where a value of ``_start`` comes from, as pg_settings says it.
        self._sources: dict[str, str] = {}
        self._session: dict[str, str] = {}
        self._local: dict[str, str] = {}
        self._saved: list[tuple[dict[str, str], dict[str, str]]] = []
        # The client's own names: known, though empty, once they were set (guc.c, placeholders).
        self._custom: set[str] = set()
        self.generation = 0
        self._live: dict[str, Live] = {}
        # What was asked for since the last change: each statement asks for some ten.
        self._found: tuple[int, dict[str, str]] = (0, {})

    def make_live(self, name: str, live: Live) -> None:
        """Of a setting in lower case, before anybody sets it."""
        self._live[name] = live

    def set_start(self, name: str, value: str, source: str = "client") -> None:
        """What the client asked for in its startup packet, or its role or database has: RESET goes back to it."""
        setting, text = settings.checked(name, value, at_start=True)
        if (live := self._live.get(setting.name.lower())) is not None:
            live.told(text)
            return
        self._start[setting.name.lower()] = text
        self._sources[setting.name.lower()] = source
        self._found = (-1, {})

    def get(self, name: str) -> str:
        """Raises UndefinedObject."""
        known = self._found
        if known[0] != self.generation:
            known = self._found = (self.generation, {})
        found = known[1].get(name)
        if found is None:
            found = self._looked_up(name)
            if name.lower() in settings.SETTINGS and name.lower() not in self._live:
                known[1][name] = found
        return found

    def _looked_up(self, name: str) -> str:
        setting = settings.find(name)
        key = setting.name.lower()
        if (live := self._live.get(key)) is not None:
            return live.shown()
        for values in (self._local, self._session, self._start):
            if key in values:
                return values[key]
        if key in OF_TRANSACTION:
            return self.get("default_" + key)
        if settings.is_custom(key) and key not in self._custom:
            raise UndefinedObject(f'unrecognized configuration parameter "{name}"')
        return setting.default

    def set(self, name: str, value: str, *, local: bool = False) -> None:
        setting, text = settings.checked(name, value)
        key = setting.name.lower()
        if (live := self._live.get(key)) is not None:
            live.told(text)
            return
        if settings.is_custom(key):
            self._remember(key)
        if local:
            self._local[key] = text
        else:
            self._session[key] = text
            self._local.pop(key, None)
        self.generation += 1

    def _remember(self, key: str) -> None:
        if key not in self._custom and len(self._custom) >= CUSTOM_MAX:
            raise ConfigurationLimitExceeded(
                f"the session has {CUSTOM_MAX} settings of its own, as many as are allowed"
            )
        self._custom.add(key)

    def assume_start(self, name: str, value: str) -> None:
        """What a setting that no client may set begins with."""
        self._start[name] = value
        self.generation += 1

    def assume(self, name: str, value: str, *, local: bool = False) -> None:
        """Change a setting that SET itself may not."""
        if local:
            self._local[name] = value
        else:
            self._session[name] = value
            self._local.pop(name, None)
        self.generation += 1

    def reset(self, name: str, *, local: bool = False) -> None:
        setting = settings.find(name)
        setting.refuse_change()
        key = setting.name.lower()
        if (live := self._live.get(key)) is not None:
            live.reset()
        if local:
            self._local[key] = self._start.get(key, setting.default)
        else:
            self._session.pop(key, None)
            self._local.pop(key, None)
        self.generation += 1

    def reset_all(self) -> None:
        for live in self._live.values():
            live.reset()
        for values in (self._session, self._local):
            kept = {key: value for key, value in values.items() if not settings.find(key).resets}
            values.clear()
            values.update(kept)
        self.generation += 1

    # --- transactions ---

    def begin(self) -> None:
        self._saved = [(dict(self._session), dict(self._local))]

    def savepoint(self) -> None:
        self._saved.append((dict(self._session), dict(self._local)))

    def rollback_to(self, depth: int) -> None:
        """Back to the ``depth``-th savepoint, from 1; it stays."""
        session, local = self._saved[depth]
        self._session, self._local = dict(session), dict(local)
        del self._saved[depth + 1 :]
        self.generation += 1

    def release(self, depth: int) -> None:
        del self._saved[depth:]

    def end(self, *, committed: bool) -> None:
        if self._saved and not committed:
            self._session = self._saved[0][0]
        self._saved = []
        if self._local or not committed:
            self._local = {}
            self.generation += 1

    # --- views ---

    @property
    def values(self) -> Mapping[str, str]:
        """Every setting by lower-case name, for ``tsdb.sql.Context``."""
        found = {key: setting.default for key, setting in settings.SETTINGS.items()}
        values = {**found, **self._start, **self._session, **self._local}
        return {**values, **{key: self.get(key) for key in OF_TRANSACTION}}

    @property
    def reported(self) -> Iterable[tuple[str, str]]:
        """What ParameterStatus tells, in the order of the table."""
        return [(s.name, self.get(s.name)) for s in settings.SETTINGS.values() if s.reported]

    def listing(self) -> list[tuple[str, str, str]]:
        """(name, value, description) for SHOW ALL."""
        return [(s.name, self.get(s.name), s.description) for s in settings.SETTINGS.values() if s.listed]

    def rows(self) -> list[tuple[object, ...]]:
        """pg_settings, in the order of its columns."""
        return [self._row(setting) for setting in settings.SETTINGS.values() if setting.listed]

    def _row(self, setting: settings.Setting) -> tuple[object, ...]:
        key = setting.name.lower()
        source = (
            "session" if key in self._session or key in self._local
            else self._sources.get(key, "client") if key in self._start
            else "default"
        )  # fmt: skip
        reset = setting.in_unit(self._start.get(key, setting.default))
        return (
            setting.name, setting.in_unit(self.get(key)), setting.unit or None, setting.category, setting.description,
            setting.extra or None, setting.context, setting.kind, source, setting.low or None, setting.high or None,
            list(setting.words) or None, setting.in_unit(setting.default), reset, None, None, False,
        )  # fmt: skip
