"""Statements: a message cut into fragments, and what each fragment is.

Session and utility statements are lexed, not parsed: sqlglot fails on many of them (BEGIN READ ONLY, SAVEPOINT, COPY
BINARY, FETCH, ...), and their meaning is the session's. DDL is lexed too (TAG is not a word of any dialect); its
readers live in ``ddl``. Queries, INSERT, UPDATE, DELETE and TRUNCATE arrive as sqlglot's trees, with their tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, SqlSyntaxError, StatementTooComplex, TsdbError
from tsdb.sql import dialect, lexer, lifting, limits
from tsdb.sql.lexer import Token

CACHED_STATEMENTS = 1024
CACHED_STATEMENT_CHARACTERS = 16 * 1024


@dataclass(frozen=True)
class Fragment:
    """One statement's text without its semicolon; ``offset`` is its first character in the message, from 0."""

    text: str
    offset: int = 0

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(lexer.tokens(self.text))

    @cached_property
    def original(self) -> Fragment:
        """What a query that was made of a statement was made of (``trees.derived``); places count in it."""
        return self

    def tail(self, start: int) -> Fragment:
        """The fragment from one of its characters on: the query inside EXPLAIN, DECLARE, PREPARE or COPY."""
        return Fragment(self.text[start:], self.offset + start)

    def part(self, start: int, end: int) -> Fragment:
        return Fragment(self.text[start:end], self.offset + start)


@dataclass(frozen=True, eq=False)
class Select:
    """A query: SELECT, VALUES, TABLE, WITH or a set operation."""

    fragment: Fragment
    tree: exp.Expr

    @property
    def shape(self) -> exp.Expr:
        """Its tree, but for the values of some texts."""
        return self.tree


class LiftedSelect(Select):
    """A query that is ``template`` with ``texts`` for its parameters; its own tree is made when it is asked for."""

    template: Select
    texts: tuple[str, ...]

    def __init__(self, fragment: Fragment, template: Select, texts: tuple[str, ...]) -> None:
        self.__dict__.update(fragment=fragment, template=template, texts=texts)

    @cached_property
    def tree(self) -> exp.Expr:
        """Raises SqlSyntaxError."""
        try:
            return dialect.parse(self.fragment.text, self.fragment.tokens)
        except TsdbError as error:
            if error.position is not None:
                error.position += self.fragment.offset
            raise

    @property
    def shape(self) -> exp.Expr:
        return self.template.tree


@dataclass(frozen=True, eq=False)
class Explain:
    """EXPLAIN of a statement. ``options`` are its options by lower-case name, with their text ("on" when bare)."""

    fragment: Fragment
    statement: Statement
    analyze: bool
    options: dict[str, str]


@dataclass(frozen=True, eq=False)
class Utility:
    """A session or utility statement: ``verb`` is its first word in capitals, ``tokens`` are all of its tokens."""

    fragment: Fragment
    verb: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, eq=False)
class Ddl:
    """CREATE, ALTER, DROP, COMMENT, GRANT, REVOKE and REASSIGN as tokens."""

    fragment: Fragment
    verb: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, eq=False)
class Insert:
    fragment: Fragment
    tree: exp.Insert


@dataclass(frozen=True, eq=False)
class Delete:
    fragment: Fragment
    tree: exp.Delete


@dataclass(frozen=True, eq=False)
class Update:
    fragment: Fragment
    tree: exp.Update


@dataclass(frozen=True, eq=False)
class Compound:
    """A statement with INSERT, UPDATE or DELETE in its WITH, or a MERGE."""

    fragment: Fragment
    tree: exp.Expr


@dataclass(frozen=True, eq=False)
class Truncate:
    fragment: Fragment
    tree: exp.TruncateTable


# Where an INSERT's tree says whose values win: "system" or "user".
OVERRIDING = "overriding"

Statement = Select | Explain | Utility | Ddl | Insert | Delete | Update | Compound | Truncate

_QUERY_WORDS = frozenset({"select", "with", "values", "table", "insert", "delete", "update", "truncate", "merge"})
_DDL_WORDS = frozenset(
    {"create", "alter", "drop", "comment", "grant", "revoke", "import", "refresh", "security", "reassign"}
)
_UTILITY_WORDS = frozenset({
    "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "set", "reset", "show", "discard",
    "deallocate", "prepare", "execute", "declare", "fetch", "move", "close", "listen", "notify", "unlisten", "lock",
    "copy", "checkpoint", "vacuum", "analyze", "reindex", "cluster", "load", "do", "call",
})  # fmt: skip


def split(text: str) -> list[Fragment]:
    """The statements of a message; comments and blanks alone are none. Raises SqlSyntaxError for what never ends."""
    if len(text) > limits.MAX_STATEMENT_CHARACTERS:
        raise StatementTooComplex(f"message is longer than {limits.MAX_STATEMENT_CHARACTERS} characters")
    return list(_split_cached(text) if len(text) <= CACHED_STATEMENT_CHARACTERS else _split(text))


def _split(text: str) -> tuple[Fragment, ...]:
    fragments: list[Fragment] = []
    own: list[Token] = []
    for token in lexer.tokens(text):
        if token.kind != "punctuation" or token.value != ";":
            own.append(token)
        elif own:
            fragments.append(_fragment(text, own))
            own = []
    if own:
        fragments.append(_fragment(text, own))
    return tuple(fragments)


def _fragment(text: str, tokens: list[Token]) -> Fragment:
    """The fragment of some tokens of a message, which need not be looked for again."""
    first = tokens[0].start
    fragment = Fragment(text[first : tokens[-1].end], first)
    if first:
        tokens = [Token(t.kind, t.value, t.start - first, t.end - first) for t in tokens]
    fragment.__dict__["tokens"] = tuple(tokens)
    return fragment


_split_cached = lru_cache(maxsize=CACHED_STATEMENTS)(_split)


def parse(fragment: Fragment) -> Statement:
    """What a fragment is. Raises SqlSyntaxError with its position in the whole message."""
    try:
        if len(fragment.text) > CACHED_STATEMENT_CHARACTERS:
            return _parse(fragment)
        return _parse_cached(fragment)
    except TsdbError as error:
        # The cached parser counts from the fragment's first character, a client from the message's.
        if error.position is not None:
            error.position += fragment.offset
        raise


def _parse(fragment: Fragment) -> Statement:
    text, tokens = fragment.text, fragment.tokens
    if not tokens:
        raise SqlSyntaxError("syntax error at end of input", position=len(text) + 1)
    first = tokens[0]
    word = first.value if first.kind == "word" else ""
    if word in ("insert", "with"):
        return _query(fragment, _insert(text, tokens))
    if word in ("select", "with"):
        lifted = _lifted(fragment)
        if lifted is not None:
            return lifted
    if word in _QUERY_WORDS or first.value == "(":
        return _query(fragment, dialect.parse(text, tokens))
    if word == "explain":
        return _explain(fragment)
    if word in _DDL_WORDS:
        return Ddl(fragment, word.upper(), tokens)
    if word in _UTILITY_WORDS:
        return Utility(fragment, word.upper(), tokens)
    raise lexer.syntax_error(text, first.start, first.end)


def _insert(text: str, tokens: tuple[Token, ...]) -> exp.Expr:
    """A statement that may be an INSERT with OVERRIDING … VALUE, which sqlglot does not know."""
    depth = 0
    for at, token in enumerate(tokens[:-2]):
        depth += (token.value == "(") - (token.value == ")")
        whose = tokens[at + 1]
        if depth or not token.is_word("overriding") or not whose.is_word("system", "user"):
            continue
        last = tokens[at + 2]
        if last.is_word("value"):
            blank = " " * (last.end - token.start)
            rest = (*tokens[:at], *tokens[at + 3 :])
            tree = dialect.parse(text[: token.start] + blank + text[last.end :], rest)
            tree.set(OVERRIDING, whose.value)
            return tree
    return dialect.parse(text, tokens)


def _lifted(fragment: Fragment) -> LiftedSelect | None:
    """The query as a template with texts, if it is one that can be parsed."""
    lifted = lifting.lift(fragment.text, fragment.tokens)
    if lifted is None or len(lifted.text) > CACHED_STATEMENT_CHARACTERS:
        return None
    try:
        template = _parse_cached(Fragment(lifted.text))
    except TsdbError:
        # The statement itself says what is wrong, and where.
        return None
    return LiftedSelect(fragment, template, lifted.texts) if isinstance(template, Select) else None


_parse_cached = lru_cache(maxsize=CACHED_STATEMENTS)(_parse)


# The word that the first one needs behind it, where sqlglot does without.
_SECOND = {"insert": "into", "delete": "from"}


def _check_words(fragment: Fragment, tree: exp.Expr) -> None:
    """What sqlglot reads and PostgreSQL does not: INSERT without INTO, DELETE without FROM, UPDATE without values."""
    text, tokens = fragment.text, fragment.tokens
    wanted = _SECOND.get(tokens[0].value)
    if wanted is not None and len(tokens) > 1 and not tokens[1].is_word(wanted):
        raise lexer.syntax_error(text, tokens[1].start, tokens[1].end)
    if not isinstance(tree, exp.Update):
        return
    if not tree.expressions:
        raise SqlSyntaxError("syntax error at end of input", position=len(text) + 1)
    for each in tree.expressions:
        if isinstance(each, exp.EQ):
            continue
        ends = [int(n.meta["end"]) for n in each.walk() if n._meta and "end" in n.meta]
        following = next((t for t in tokens if ends and t.start > max(ends)), None)
        if following is None:
            raise SqlSyntaxError("syntax error at end of input", position=len(text) + 1)
        raise lexer.syntax_error(text, following.start, following.end)


def _modifies(tree: exp.Expr) -> bool:
    """Whether there is a modification in WITH. Raises FeatureNotSupported where it is not the statement's own WITH."""
    found = [each for each in tree.find_all(exp.CTE) if isinstance(each.this, exp.Insert | exp.Update | exp.Delete)]
    if any(each.parent is None or each.parent.parent is not tree for each in found):
        raise FeatureNotSupported("WITH clause containing a data-modifying statement must be at the top level")
    return bool(found)


def _query(fragment: Fragment, tree: exp.Expr) -> Statement:
    _check_words(fragment, tree)
    common = any(token.is_word("with") for token in fragment.tokens)
    if isinstance(tree, exp.Merge) or (common and _modifies(tree)):
        return Compound(fragment, tree)
    if isinstance(tree, exp.Insert):
        return Insert(fragment, tree)
    if isinstance(tree, exp.Delete):
        return Delete(fragment, tree)
    if isinstance(tree, exp.Update):
        return Update(fragment, tree)
    if isinstance(tree, exp.TruncateTable):
        return Truncate(fragment, tree)
    if isinstance(tree, exp.Query | exp.Values | exp.Table):
        return Select(fragment, tree)
    first = fragment.tokens[0]
    raise lexer.syntax_error(fragment.text, first.start, first.end)


def _check_format(name: str) -> None:
    if name in ("xml", "yaml"):
        raise FeatureNotSupported(f"EXPLAIN (FORMAT {name.upper()}) is not supported", hint="Use TEXT or JSON.")
    if name not in ("text", "json"):
        raise InvalidParameterValue(f'unrecognized value for EXPLAIN option "format": "{name}"')


def _explain(fragment: Fragment) -> Explain:
    tokens = fragment.tokens
    options: dict[str, str] = {}
    at = 1
    if at < len(tokens) and tokens[at].value == "(" and not (at + 1 < len(tokens) and tokens[at + 1].is_word("select")):
        at += 1
        while at < len(tokens) and tokens[at].value != ")":
            name = tokens[at].value
            at += 1
            value = "on"
            if at < len(tokens) and tokens[at].value not in (",", ")"):
                value = tokens[at].value
                at += 1
            options[name] = value
            if at < len(tokens) and tokens[at].value == ",":
                at += 1
        at += 1
    else:
        while at < len(tokens) and tokens[at].is_word("analyze", "analyse", "verbose"):
            options["analyze" if tokens[at].value != "verbose" else "verbose"] = "on"
            at += 1
    for name in options:
        if name not in ("analyze", "verbose", "costs", "settings", "buffers", "wal", "timing", "summary", "format"):
            raise SqlSyntaxError(f'unrecognized EXPLAIN option "{name}"')
    if at >= len(tokens):
        raise SqlSyntaxError("syntax error at end of input", position=len(fragment.text) + 1)
    _check_format(options.get("format", "text"))
    inner = fragment.tail(tokens[at].start)
    analyze = options.get("analyze", "off") in ("on", "true", "1")
    try:
        statement = _parse(inner)
    except TsdbError as error:
        if error.position is not None:
            error.position += tokens[at].start
        raise
    return Explain(fragment, statement, analyze, options)
