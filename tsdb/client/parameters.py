"""Python's values as texts that PostgreSQL's types read: what a statement's parameters are sent as."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

_US = datetime.timedelta(microseconds=1)


def text_of(value: Any) -> str | None:
    """The text of a parameter; None is NULL. A type that is not known here is sent as ``str`` shows it."""
    if value is None:
        return None
    if hasattr(value, "item") and not isinstance(value, list | tuple) and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a scalar of NumPy's
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"{value // _US} microseconds"
    if isinstance(value, Mapping):
        return json.dumps(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return "{" + ",".join(_element(each) for each in value) + "}"
    return str(value)


def _element(value: Any) -> str:
    if isinstance(value, list | tuple):
        return text_of(value) or "{}"
    text = text_of(value)
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
