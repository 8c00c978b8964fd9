"""Tokens where PostgreSQL's rules are not what the longest match would give."""

from __future__ import annotations

import pytest

from tsdb.sql import lexer


@pytest.mark.parametrize(
    ("text", "operators"),
    [
        ("x=-1", ["=", "-"]),
        ("x<=-1", ["<=", "-"]),
        ("a+-b", ["+", "-"]),
        ("a->-1", ["->", "-"]),
        ("a *+- b", ["*", "+", "-"]),
        ("a #- b", ["#-"]),
        ("a @-b", ["@-"]),
        ("a->>b", ["->>"]),
        ("a=--b\n1", ["="]),
        ("-1", ["-"]),
    ],
)
def test_an_operator_ends_in_a_sign_only_if_it_is_an_unusual_one(text: str, operators: list[str]) -> None:
    found = [token for token in lexer.tokens(text) if token.kind == "operator"]
    assert [token.value for token in found] == operators
    assert [text[token.start : token.end] for token in found] == operators
