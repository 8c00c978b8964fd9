"""Messages into statements: PostgreSQL's lexical rules, syntax errors with their place, bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.errors import SqlSyntaxError, StatementTooComplex, TsdbError
from tsdb.sql.statement import Ddl, Explain, Insert, Select, Utility, parse, split


def texts(message: str) -> list[str]:
    return [fragment.text for fragment in split(message)]


@pytest.mark.parametrize("message", ["", ";", " ;; \n", "-- ping", "/* a /* nested */ ; */", ";-- x\n;"])
def test_comments_and_blanks_alone_are_no_statement(message: str) -> None:
    assert split(message) == []


def test_semicolons_in_quotes_and_comments_do_not_end_a_statement() -> None:
    message = "select 'a;b', \"c;d\", $$e;$$, $x$;$y$;$x$, E'\\';' /* ; /* ; */ */ -- ;\n; select 2"
    found = split(message)
    assert len(found) == 2
    assert found[1].text == "select 2"
    assert message[found[1].offset :] == "select 2"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("begin isolation level serializable read only", Utility), ("savepoint a", Utility),
        ("FETCH 5 from c", Utility),
        ("copy t from stdin (format binary)", Utility), ("set time zone 'UTC'", Utility), ("show all", Utility),
        ("create table t (time timestamptz, host text TAG)", Ddl), ("drop table t", Ddl),
        ("insert into t values (1)", Insert), ("values (1)", Select), ("table t", Select), ("(select 1)", Select),
        ("with a as (select 1) select * from a", Select), ("explain (analyze, costs off) select 1", Explain),
    ],
)  # fmt: skip
def test_a_statement_is_known_by_its_words(message: str, kind: type) -> None:
    (fragment,) = split(message)
    assert isinstance(parse(fragment), kind)


@pytest.mark.parametrize(
    ("message", "text", "position"),
    [
        ("selec 1", 'syntax error at or near "selec"', 1),
        ("select 1; selec 2", 'syntax error at or near "selec"', 11),
        ("select 1;\n select a b c", 'syntax error at or near "c"', 23),
        ("select 1 from", "syntax error at end of input", 14),
        ("select * from (select 1", "syntax error at end of input", 24),
        ("select\n from where", 'syntax error at or near "where"', 14),
        ("select 'a", 'unterminated quoted string at or near "\'a"', 8),
        ("select /* a", 'unterminated /* comment at or near "/* a"', 8),
        ('select "a', 'unterminated quoted identifier at or near ""a"', 8),
        ("select E'\\'a' 'b'c d", 'syntax error at or near "d"', 20),
    ],
)
def test_a_syntax_error_points_at_its_token_in_the_whole_message(message: str, text: str, position: int) -> None:
    with pytest.raises(SqlSyntaxError) as caught:
        for fragment in split(message):
            parse(fragment)
    assert (caught.value.message, caught.value.position) == (text, position)


@pytest.mark.parametrize("inner", ["(" * 5000 + "1" + ")" * 5000, "- " * 5000 + "1", "case when " * 3000 + "1"])
def test_deep_nesting_is_refused(inner: str) -> None:
    with pytest.raises((StatementTooComplex, SqlSyntaxError)):
        for fragment in split("select " + inner):
            parse(fragment)


def test_a_statement_of_many_megabytes_is_refused() -> None:
    with pytest.raises(StatementTooComplex):
        split("select '" + "a" * (17 << 20) + "'")


def test_a_syntax_error_told_twice_has_the_same_place() -> None:
    positions = []
    for _ in range(3):
        with pytest.raises(SqlSyntaxError) as caught:
            parse(split("select 1; select a b c")[1])
        positions.append(caught.value.position)
    assert positions == [22, 22, 22]


@given(st.text(alphabet="selct fromwhr'\"$()*,;-/\\E\n1a.:[]{}=<>~", max_size=60))
def test_garbage_is_an_error_and_never_a_crash(message: str) -> None:
    try:
        for fragment in split(message):
            parse(fragment)
    except TsdbError:
        pass


@pytest.mark.parametrize("written", ["interval '1 day' {}", "'1 day'::interval {}", "interval '1 day' AS {}"])
@pytest.mark.parametrize("name", ["h", "d", "ms", "week", "x"])
def test_a_name_behind_an_interval_is_its_name(written: str, name: str) -> None:
    (fragment,) = split(f"SELECT {written.format(name)}, now() - interval '2' hour")
    statement = parse(fragment)
    assert isinstance(statement, Select)
    assert statement.tree.expressions[0].alias_or_name == name
