"""Lines of the log: one an event, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys

from tsdb.server.logs import JsonLines, TextLines


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("tsdb.part", logging.WARNING, "", 0, message, arguments, None)
    made.created = 1_767_225_600.25
    if fields:
        made.fields = fields
    return made


def test_text_has_time_level_logger_message_and_fields() -> None:
    line = TextLines().format(record("took %d ms", 12, series="cpu", rows=3))
    assert line == "2026-01-01T00:00:00.250Z warning tsdb.part took 12 ms series='cpu' rows=3"


def test_a_line_stays_one_line_whatever_the_message() -> None:
    assert "\n" not in TextLines().format(record("a\nb: %s", "c\nd", field="e\nf"))
    assert "\n" not in JsonLines().format(record("a\nb", field="c\nd"))


def test_json_has_the_same_as_an_object() -> None:
    assert json.loads(JsonLines().format(record("took %d ms", 12, rows=3))) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "tsdb.part",
        "message": "took 12 ms",
        "rows": 3,
    }


def test_a_traceback_is_kept() -> None:
    made = record("failed")
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: why" in json.loads(JsonLines().format(made))["exception"]
    assert "ValueError: why" in TextLines().format(made)
