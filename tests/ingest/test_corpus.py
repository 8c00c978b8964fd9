"""The public corpus of line-protocol cases: accept or reject, and values, with the agreed deviations as rules."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.points import points_of
from tests.ingest.reference import bits_of
from tsdb.ingest.lineprotocol import parse

CASES = Path(__file__).parents[3] / "shared" / "line-protocol" / "cases.json"
PRECISIONS = {"1ns": "ns", "1µs": "us", "1ms": "ms", "1s": "s"}

# Where the recommendation of the design's table (3.1 to 3.3) is not the corpus's: rule → what the body then looks like.
ACCEPTED_HERE: dict[str, Callable[[bytes], bool]] = {
    "a leading tab is skipped": lambda body: body.startswith(b"\t"),
}
REFUSED_HERE: dict[str, Callable[[bytes], bool]] = {
    "reserved names as tags": lambda body: bool(re.search(rb",(time|_field|_measurement)=", body)),
}


def _cases() -> dict[str, Any]:
    if not CASES.exists():
        return {}
    found: dict[str, Any] = json.loads(CASES.read_text())
    return found


def _text(of: Any) -> bytes:
    return of.encode() if isinstance(of, str) else base64.b64decode(of["binary"])


def _plain(of: Any) -> str:
    return _text(of).decode()


def _value(tagged: dict[str, Any]) -> object:
    ((kind, value),) = tagged.items()
    if kind == "float":
        return bits_of(abs(float(value)) if value == 0 else float(value))  # the corpus writes −0 as 0
    return _plain(value) if kind == "string" else value


def _ours(value: object) -> object:
    return bits_of(0.0) if value == bits_of(-0.0) else value


def _rule(rules: dict[str, Callable[[bytes], bool]], body: bytes) -> str | None:
    return next((name for name, holds in rules.items() if holds(body)), None)


def _check(case: dict[str, Any]) -> str | None:
    """Compare one case; the rule it deviates by, if it does."""
    body = _text(case["input"]["text"])
    precision = PRECISIONS[case["input"]["precision"]]
    parsed = parse(body, precision=precision, now_ns=case["input"]["defaultTime"])
    if "error" in case["output"]:
        rule = None if parsed.error_count else _rule(ACCEPTED_HERE, body)
        assert parsed.error_count or rule, f"{body!r} should be refused: {case['output']['error']}"
        return rule
    if parsed.error_count:
        rule = _rule(REFUSED_HERE, body)
        assert rule, f"{body!r} should be accepted: {parsed.errors}"
        return rule
    found = [
        (name, tags, {key: _ours(value) for key, (_, value) in fields.items()}, time)
        for _, name, tags, fields, time in points_of(parsed)
    ]
    assert found == [
        (
            _plain(point["name"]),
            tuple((_plain(tag["key"]), _plain(tag["value"])) for tag in point["tags"]),
            {_plain(field["key"]): _value(field["value"]) for field in point["fields"]},
            point["time"],
        )
        for point in case["output"]["result"]
    ], body
    return None


def test_every_case_of_the_corpus_is_accepted_or_refused_as_it_says() -> None:
    cases = _cases()
    if not cases:
        pytest.skip("the line-protocol cases are not there: ../shared/line-protocol/cases.json")
    deviations = {rule for case in cases.values() if (rule := _check(case)) is not None}
    assert deviations == {*ACCEPTED_HERE, *REFUSED_HERE}, "a rule that no case needs any more"
