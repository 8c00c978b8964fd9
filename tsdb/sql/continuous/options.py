"""The options of continuous views, in WITH and SET; TimescaleDB's have the same names behind ``timescaledb.``"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tsdb.errors import InvalidParameterValue
from tsdb.model.time import NS_PER_SECOND
from tsdb.sql import intervals


@dataclass(frozen=True, slots=True)
class Options:
    """What WITH and SET say of a continuous view; None is not said."""

    continuous: bool = False
    lag_ns: int | None = None
    every_ns: int | None = None
    stored_only: bool | None = None


OPTION_NAMES = frozenset(("continuous", "materialized_only", "refresh_lag", "refresh_interval"))
_EVERY_NS_MIN = NS_PER_SECOND


def options_of(options: Mapping[str, str]) -> Options:
    """Raises InvalidParameterValue, InvalidDatetimeFormat."""
    every = _ns(options["refresh_interval"], "refresh_interval") if "refresh_interval" in options else None
    if every is not None and every < _EVERY_NS_MIN:
        raise InvalidParameterValue("refresh_interval must be at least 1 second")
    return Options(
        _truth("continuous", options.get("continuous", "off")),
        _ns(options["refresh_lag"], "refresh_lag") if "refresh_lag" in options else None,
        every,
        _truth("materialized_only", options["materialized_only"]) if "materialized_only" in options else None,
    )


def _ns(text: str, name: str) -> int:
    microseconds = intervals.parse(text).approximate_us
    if not 0 <= microseconds < 2**63 // 1000:
        raise InvalidParameterValue(f'{name} "{text}" must be a time of less than 292 years, and not negative')
    return microseconds * 1000


def _truth(name: str, text: str) -> bool:
    lowered = text.lower()
    if lowered in ("on", "true", "t", "yes", "1"):
        return True
    if lowered in ("off", "false", "f", "no", "0"):
        return False
    raise InvalidParameterValue(f'invalid value for boolean option "{name}": {text}')
