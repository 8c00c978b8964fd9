"""One setting: its type, unit and range, and what a text becomes by them.

Source: guc.c (parse_bool, parse_int, parse_real, convert_to_base_unit, _ShowOption); its error texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from tsdb.errors import CantChangeRuntimeParam, InvalidParameterValue

Check = Callable[[str, str], str]

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
# Units with their size in the smallest of their kind, the largest first.
_BYTES = {"TB": 1 << 40, "GB": 1 << 30, "MB": 1 << 20, "kB": 1 << 10, "B": 1}
_TIMES = {"d": 86_400_000_000, "h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_BASE = {**_BYTES, **_TIMES, "8kB": 8 << 10}
_NUMBER = re.compile(r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*")
# Words that an enumeration knows and does not list (guc.c, the hidden entries).
_HIDDEN = {"debug": "debug2", "fatal": "fatal", "panic": "panic", "info": "info"}


@dataclass(frozen=True, slots=True)
class Setting:
    """``name`` as SHOW ALL prints it; ``default`` and all values as SHOW prints them.

    ``kind`` is bool, integer, real, enum or string; ``context`` says who may change it when (pg_settings.context).
    ``check`` overrides the check by type. ``listed``: whether SHOW ALL and pg_settings have it.
    """

    name: str
    default: str
    kind: str = "string"
    unit: str = ""
    low: str = ""
    high: str = ""
    words: tuple[str, ...] = ()
    context: str = "user"
    category: str = "Customized Options"
    description: str = ""
    extra: str = ""
    reported: bool = False
    resets: bool = True
    listed: bool = True
    check: Check | None = field(default=None, compare=False)

    @property
    def fixed(self) -> bool:
        return self.context not in ("user", "superuser")

    def checked(self, value: str) -> str:
        """The value as SHOW prints it. Raises InvalidParameterValue, FeatureNotSupported."""
        if len(value) > 10_000:
            raise InvalidParameterValue(f'value for parameter "{self.name}" is too long')
        if self.check is not None:
            return self.check(self.name, value)
        if self.kind == "bool":
            return _bool(self.name, value)
        if self.kind == "enum":
            return self._word(value)
        if self.kind in ("integer", "real"):
            return self.shown(self._number(value))
        return value

    def refuse_change(self, *, at_start: bool = False) -> None:
        """Raises CantChangeRuntimeParam unless a session may change it."""
        reasons = {
            "internal": "cannot be changed",
            "postmaster": "cannot be changed without restarting the server",
            "sighup": "cannot be changed now",
            "backend": "cannot be set after connection start",
            "superuser-backend": "cannot be set after connection start",
        }
        if self.context in reasons and not (at_start and self.context.endswith("backend")):
            raise CantChangeRuntimeParam(f'parameter "{self.name}" {reasons[self.context]}')

    def in_unit(self, shown: str) -> str:
        """A value as pg_settings has it: a number in the setting's unit."""
        return self._plain(self._number(shown)) if self.unit and self.kind in ("integer", "real") else shown

    def shown(self, number: float) -> str:
        """A number in the setting's unit, as SHOW prints it: with the largest unit that divides it."""
        if not self.unit or number <= 0:
            return self._plain(number)
        units = _BYTES if _is_size(self.unit) else _TIMES
        smallest = number * _BASE[self.unit]
        for unit, size in units.items():
            whole = round(smallest / size)
            exact = smallest == whole * size if self.kind == "integer" else abs(smallest / size - whole) <= 1e-8 * whole
            if whole and exact:
                return f"{whole}{unit}"
        return f"{self._plain(number)}{self.unit}"

    def _plain(self, number: float) -> str:
        return str(int(number)) if self.kind == "integer" else f"{number:g}"

    def _word(self, value: str) -> str:
        folded = value.lower()
        for word in self.words:
            if word.lower() == folded:
                return word
        if "on" in self.words and "off" in self.words and folded in (*_TRUE, *_FALSE):
            return "on" if folded in _TRUE else "off"
        if folded in _HIDDEN and "debug2" in self.words:
            return _HIDDEN[folded]
        available = f"Available values: {', '.join(self.words)}."
        raise InvalidParameterValue(f'invalid value for parameter "{self.name}": "{value}"', hint=available)

    def _number(self, value: str) -> float:
        number = self._in_base_unit(value)
        low, high = float(self.low), float(self.high)
        if self.kind == "integer":
            number = round(number)
            if abs(number) > 2**31 - 1 and abs(high) < 2**31:
                raise self._invalid(value, "Value exceeds integer range.")
        if not low <= number <= high:
            unit = f" {self.unit}" if self.unit else ""
            raise InvalidParameterValue(
                f'{self._plain(number)}{unit} is outside the valid range for parameter "{self.name}" '
                f"({self._plain(low)} .. {self._plain(high)})"
            )
        return number

    def _in_base_unit(self, value: str) -> float:
        found = _NUMBER.fullmatch(value)
        if found is None:
            raise self._invalid(value)
        digits, unit = found[1], found[2]
        octal = self.kind == "integer" and re.fullmatch(r"[+-]?0[0-7]+", digits)
        number = float(int(digits, 16)) if "x" in digits.lower() else float(int(digits, 8) if octal else float(digits))
        if number in (float("inf"), float("-inf")):
            raise self._invalid(value)
        if not unit:
            return number
        units = _BYTES if _is_size(self.unit) else _TIMES if self.unit else {}
        if unit not in units:
            raise self._invalid(value, _valid_units(self.unit))
        return number * units[unit] / _BASE[self.unit]

    def _invalid(self, value: str, hint: str | None = None) -> InvalidParameterValue:
        return InvalidParameterValue(f'invalid value for parameter "{self.name}": "{value}"', hint=hint)


def _is_size(unit: str) -> bool:
    return unit.endswith("B")


def _valid_units(unit: str) -> str | None:
    if not unit:
        return None
    if _is_size(unit):
        return 'Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".'
    return 'Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".'


def _bool(name: str, value: str) -> str:
    word = value.lower()
    # A prefix that can only mean one of the words will do; "o" could be two.
    if word and word != "o":
        if any(each.startswith(word) for each in _TRUE):
            return "on"
        if any(each.startswith(word) for each in _FALSE):
            return "off"
    raise InvalidParameterValue(f'parameter "{name}" requires a Boolean value')


@lru_cache(maxsize=64)
def milliseconds(shown: str) -> int:
    """A timeout as SHOW prints it, in milliseconds."""
    return round(_TIMEOUT._in_base_unit(shown))


_TIMEOUT = Setting("timeout", "0", "integer", "ms", "0", "2147483647")
