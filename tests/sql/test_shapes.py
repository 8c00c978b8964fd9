"""Messages of a known shape: the same statements as if they were read, whatever their texts are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.errors import TsdbError
from tsdb.sql import shapes
from tsdb.sql.shapes import Shapes
from tsdb.sql.statement import LiftedSelect, Select, Statement, parse, split

# Between these stand texts; what comes between them makes of some no texts at all.
PIECES = (
    "SELECT n FROM cpu WHERE host = ", " AND time > ", " AND host IN (", ", ", ") AND n < ", " OR host LIKE ", ";",
    " -- it", "\n", " /* ", " */ ", " $$", "$$ ", ' "a', '" ', " E", "e", " U&", " || ", "", " ", "  SELECT ", " = ",
    " BETWEEN ", " and ", "\\", "x", " interval ", " date ", "a", "=", "::text = ", "; SELECT 1", "\n -- c\n",
)  # fmt: skip
TEXTS = ("a", "", "2026-01-01", "now", "it\\", "\\", ";", "--", "/*", '"', "$$", "today is", "é", "a b", "\n")


def read(text: str) -> list[Statement] | tuple[str, int | None]:
    try:
        return [parse(fragment) for fragment in split(text)]
    except TsdbError as error:
        return error.message, error.position


def known(shapes: Shapes, text: str) -> list[Statement] | tuple[str, int | None]:
    try:
        return list(shapes.statements(text))
    except TsdbError as error:
        return error.message, error.position


def shown(statements: list[Statement] | tuple[str, int | None]) -> object:
    """What statements are, as far as it can be compared."""
    if isinstance(statements, tuple):
        return statements
    return [
        (type(each), each.fragment, each.fragment.offset, each.template.tree, each.texts)
        if isinstance(each, LiftedSelect)
        else (type(each), each.fragment, each.tree.sql() if isinstance(each, Select) else None)
        for each in statements
    ]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=7), st.data())
def test_a_message_of_a_known_shape_is_what_it_is_when_it_is_read(pieces: list[str], data: st.DataObject) -> None:
    found = Shapes()
    for _ in range(4):
        texts = [data.draw(st.sampled_from(TEXTS)) for _ in pieces[1:]]
        text = pieces[0] + "".join(f"'{own}'{piece}" for own, piece in zip(texts, pieces[1:], strict=True))
        assert shown(known(found, text)) == shown(read(text)), text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SELECT n FROM cpu WHERE host = 'a'", "SELECT n FROM cpu WHERE host = 'b'"),
        (" SELECT n FROM cpu WHERE 'x' = host  ; -- c", " SELECT n FROM cpu WHERE 'y' = host  ; -- c"),
        ("SELECT n FROM cpu WHERE host IN ('a', 'b')", "SELECT n FROM cpu WHERE host IN ('', '')"),
    ],
)
def test_a_message_that_differs_in_its_texts_is_not_read_again(
    first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Shapes()
    (before,) = found.statements(first)
    monkeypatch.setattr(shapes, "split", None)
    if not isinstance(before, LiftedSelect):
        with pytest.raises(TypeError):
            found.statements(second)
        return
    (after,) = found.statements(second)
    assert isinstance(after, LiftedSelect)
    assert after.template is before.template
    assert after.texts != before.texts
    assert first.find(before.fragment.text) == before.fragment.offset
    assert second.find(after.fragment.text) == after.fragment.offset


def test_a_text_that_the_clock_reads_is_read_with_its_statement() -> None:
    found = Shapes()
    text = "SELECT n FROM cpu WHERE time > '{}'"
    (plain,) = found.statements(text.format("2026-01-01"))
    (moment,) = found.statements(text.format("now"))
    assert isinstance(plain, LiftedSelect)
    assert not isinstance(moment, LiftedSelect)


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SHAPES_MAX", 3)
    found = Shapes()
    for n in range(20):
        found.statements(f"SELECT {n} FROM cpu WHERE host = 'a'")
        found.statements(f"SELECT {n}")
        assert max(len(found._known), len(found._templates), len(found._same)) <= 3
