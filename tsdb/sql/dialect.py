"""sqlglot's PostgreSQL parser, told to leave functions as they are written.

sqlglot folds functions of many databases into classes of its own (``date_trunc`` becomes TimestampTrunc, ``log``
gets its arguments swapped by dialect). Our binder has one table of PostgreSQL's functions, so every call is to arrive
as ``Anonymous(name, arguments)``. The compiled parser cannot be subclassed; its tables can be emptied, once, here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from tsdb.errors import SqlSyntaxError, StatementTooComplex
from tsdb.sql import lexer, limits

_KEPT_FUNCTION_PARSERS = ("EXTRACT", "CAST", "POSITION", "SUBSTRING", "TRIM", "OVERLAY")
_ESCAPE_STRING = re.compile(r"[eE]'|\$[^0-9\s]|[uU]&['\"]")

_CONSTANT_TYPES = (
    TokenType.DATE, TokenType.TIME, TokenType.TIMESTAMP, TokenType.TIMESTAMPTZ,
)  # fmt: skip
_INTERVAL_UNITS = ("year", "month", "day", "hour", "minute", "second")
_COMPARISONS = ("=", "<>", "!=", "<", "<=", ">", ">=")
_FOREIGN_OPERATORS = frozenset({
    "<<=", ">>=", "~=", "@@", "@@@", "|>>", "<<|", "&<|", "|&>", "<^", ">^", "?-", "?#", "?||", "?-|", "##", "*=",
    "~<~", "~<=~", "~>~", "~>=~", "<#>", "<%", "%>", "<<->>",
})  # fmt: skip
_CLAUSES = (
    TokenType.SELECT, TokenType.FROM, TokenType.WHERE, TokenType.GROUP_BY, TokenType.HAVING, TokenType.ORDER_BY,
)  # fmt: skip
_BEFORE_AN_ITEM = (TokenType.COMMA, TokenType.GROUP_BY, TokenType.DOT, TokenType.L_PAREN)
_WORDS_AFTER_AS = (TokenType.SELECT, TokenType.UPDATE, TokenType.INSERT, TokenType.DELETE)
_WORDS_BEHIND_A_DOT = (*_WORDS_AFTER_AS, TokenType.FROM, TokenType.WHERE, TokenType.TABLE, TokenType.CREATE)

_parser = Postgres.parser_class
_parser.FUNCTIONS.clear()
for _name in [name for name in _parser.FUNCTION_PARSERS if name not in _KEPT_FUNCTION_PARSERS]:
    del _parser.FUNCTION_PARSERS[_name]
# ``doc -> 'key'`` is a member of JSON, not a function of doc.
_parser.LAMBDAS.pop(TokenType.ARROW)


class Dialect(Postgres):
    # Subscripts stay as they are written (from 1), whatever DuckDB counts from.
    INDEX_OFFSET = 0

    class Tokenizer(Postgres.Tokenizer):
        # sqlglot takes the middle of ``($1,$2)`` for the tag of a dollar-quoted string; ``_plain_strings`` reads those.
        HEREDOC_STRINGS = []
        # As words of their own, oid, regclass and their like would take no brackets: ``oid[]``.
        KEYWORDS = {
            word: kind for word, kind in Postgres.Tokenizer.KEYWORDS.items() if kind is not TokenType.OBJECT_IDENTIFIER
        }
        SINGLE_TOKENS = {**Postgres.Tokenizer.SINGLE_TOKENS, "$": TokenType.PARAMETER}


_dialect = Dialect()


def parse(text: str, lexed: Sequence[lexer.Token] | None = None) -> exp.Expr:
    """The tree of one statement; ``lexed`` are its tokens, where they are known already. Raises SqlSyntaxError
    (position in ``text``) and StatementTooComplex."""
    if lexed is None:
        lexed = lexer.tokens(text)
    _check_nesting(lexed)
    try:
        plain = _plain_strings(text, lexed)
        tokens = _named_operators(_dialect.tokenize(plain), lexed)
        tokens = _tolerances(_fill_apart(_postgres_precedence(tokens)))
        trees = [tree for tree in _dialect.parser().parse(tokens, plain) if tree is not None]
    except (ParseError, TokenError) as error:
        raise _syntax_error(text, lexed, error) from None
    except RecursionError:
        raise StatementTooComplex("stack depth limit exceeded", hint="Nest the statement less deeply.") from None
    if len(trees) != 1:
        raise SqlSyntaxError("syntax error at end of input", position=len(text) + 1)
    if any(token.value == "join" for token in lexed):
        _check_joins(trees[0], text, lexed)
    return trees[0]


def _check_joins(tree: exp.Expr, text: str, lexed: Sequence[lexer.Token]) -> None:
    """sqlglot takes JOIN without ON or USING for a comma."""
    before = {token.start: lexed[i - 1] for i, token in enumerate(lexed) if i}
    for join in tree.find_all(exp.Join):
        kind = str(join.args.get("kind") or "").upper()
        if kind in ("", "INNER", "OUTER") and not any(join.args.get(key) for key in ("method", "on", "using")):
            named = join.find(exp.Identifier)
            start = named.meta.get("start") if named is not None else None
            if kind or join.args.get("side") or (start in before and before[start].is_word("join")):
                raise SqlSyntaxError("syntax error: JOIN needs ON or USING", hint="CROSS JOIN has no condition.")


def _plain_strings(text: str, lexed: Sequence[lexer.Token]) -> str:
    """E'' and $$ strings as plain ones, padded so that every position stays: sqlglot reads some of them otherwise."""
    if not _ESCAPE_STRING.search(text):
        return text
    parts: list[str] = []
    position = 0
    for index, token in enumerate(lexed):
        if token.start < position or token.kind not in ("string", "quoted"):
            continue
        first, value, end = text[token.start], token.value, token.end
        if first in "uU":
            escape, end = _uescape(lexed, index)
            value = lexer.unicode_text(value, escape, token.start)
        elif token.kind == "quoted" or first not in "eE$":
            continue
        quote = "'" if token.kind == "string" else '"'
        plain = quote + value.replace(quote, quote * 2) + quote
        parts += (text[position : token.start], plain.ljust(end - token.start))
        position = end
    return "".join(parts) + text[position:]


def _uescape(lexed: Sequence[lexer.Token], index: int) -> tuple[str, int]:
    """The escape character of a U& string or name, and where the constant ends: behind UESCAPE, if there is one."""
    following = lexed[index + 1 : index + 3]
    if len(following) < 2 or not following[0].is_word("uescape") or following[1].kind != "string":
        return "\\", lexed[index].end
    escape = following[1].value
    if len(escape) != 1 or escape in "0123456789abcdefABCDEF+'\"" or escape.isspace():
        raise SqlSyntaxError("invalid Unicode escape character", position=following[1].start + 1)
    return escape, following[1].end


def _named_operators(tokens: list[Token], lexed: Sequence[lexer.Token]) -> list[Token]:
    """Operators that sqlglot has no token for, or another meaning, as OPERATOR(them), which it takes by their names."""
    foreign = {token.start: token for token in lexed if token.kind == "operator" and token.value in _FOREIGN_OPERATORS}
    if not foreign:
        return tokens
    made: list[Token] = []
    end = 0
    for token in tokens:
        if token.start < end:
            continue
        found = foreign.get(token.start)
        if found is None:
            made.append(token)
            continue
        end = found.end
        made += [
            _token(TokenType.OPERATOR, "OPERATOR", token), _token(TokenType.L_PAREN, "(", token),
            _token(TokenType.VAR, found.value, token), _token(TokenType.R_PAREN, ")", token),
        ]  # fmt: skip
    return made


def _postgres_precedence(tokens: list[Token]) -> list[Token]:
    """Tokens that sqlglot reads as PostgreSQL does: ``date '…'::text`` casts a date, not a text (parentheses are put
    around the constant), intervals are whole, and after AS and behind a dot any word is a name."""
    made: list[Token] = []
    skipped = -1
    for index, token in enumerate(tokens):
        following = tokens[index + 1].token_type if index + 1 < len(tokens) else None
        if index <= skipped:
            continue
        if token.token_type is TokenType.INTERVAL and following is TokenType.STRING:
            constant, skipped = _interval(tokens, index)
            made += constant
            continue
        if made and made[-1].token_type is TokenType.INTERVAL and _is_named_like_a_unit(token):
            made.append(_token(TokenType.ALIAS, "AS", token))
        if token.text.lower() == "some" and following is TokenType.L_PAREN and made and made[-1].text in _COMPARISONS:
            made.append(_token(TokenType.ANY, "ANY", token))
            continue
        if token.token_type is TokenType.OBJECT_IDENTIFIER and _is_array_name(tokens, index):
            # sqlglot would know the name again, and no arrays of it; it takes PostgreSQL's own name of the array.
            made.append(_token(TokenType.VAR, f"_{token.text.lower()}", token))
            skipped = index + 2
            continue
        if made and made[-1].token_type is TokenType.DCOLON and _is_array_name(tokens, index):
            # sqlglot knows no arrays of the catalog's types: oid[] is one name to it.
            made.append(_token(TokenType.VAR, f"{token.text}[]", token))
            skipped = index + 2
            continue
        if token.token_type in _WORDS_AFTER_AS and made and made[-1].token_type is TokenType.ALIAS:
            made.append(_token(TokenType.VAR, token.text, token))
            continue
        if token.token_type in _WORDS_BEHIND_A_DOT and made and made[-1].token_type is TokenType.DOT:
            made.append(_token(TokenType.VAR, token.text, token))
            continue
        made.append(token)
        if token.token_type is TokenType.STRING and following is TokenType.DCOLON:
            first = _constant_start(made)
            if first is not None:
                made.insert(first, _token(TokenType.L_PAREN, "(", made[first]))
                made.append(_token(TokenType.R_PAREN, ")", token))
    return made


def _fill_apart(tokens: list[Token]) -> list[Token]:
    """``GROUP BY a, b FILL(…)`` with FILL as the last item of GROUP BY: what the binder knows it by."""
    made: list[Token] = []
    for index, token in enumerate(tokens):
        if token.text.lower() == "fill" and index + 1 < len(tokens) and _ends_group_by(tokens, index):
            made.append(_token(TokenType.COMMA, ",", token))
        made.append(token)
    return made


def _tolerances(tokens: list[Token]) -> list[Token]:
    """``ASOF JOIN … ON … TOLERANCE '1 minute'`` with the tolerance as one more condition, a call of a name that only
    the binder of ASOF JOIN knows."""
    made: list[Token] = []
    until = -1
    for index, token in enumerate(tokens):
        following = tokens[index + 1].token_type if index + 1 < len(tokens) else None
        if token.text.lower() == "tolerance" and following in (TokenType.STRING, TokenType.PARAMETER):
            casts = tokens[index + 2].token_type is TokenType.DCOLON if index + 2 < len(tokens) else False
            until = index + (3 if casts else 2 if following is TokenType.PARAMETER else 1)
            call = ((TokenType.AND, "AND"), (TokenType.VAR, "asof_tolerance"), (TokenType.L_PAREN, "("))
            made += [_token(kind, text, token) for kind, text in call]
            continue
        made.append(token)
        if index == until:
            made.append(_token(TokenType.R_PAREN, ")", token))
    return made


def _ends_group_by(tokens: list[Token], index: int) -> bool:
    """Whether FILL( follows an item of GROUP BY."""
    if tokens[index + 1].token_type is not TokenType.L_PAREN or tokens[index - 1].token_type in _BEFORE_AN_ITEM:
        return False
    depth = 0
    for token in reversed(tokens[:index]):
        depth += (token.token_type is TokenType.R_PAREN) - (token.token_type is TokenType.L_PAREN)
        if depth < 0 or (depth == 0 and token.token_type in _CLAUSES):
            return depth == 0 and token.token_type is TokenType.GROUP_BY
    return False


def _interval(tokens: list[Token], index: int) -> tuple[list[Token], int]:
    """``interval '1 day 02:03:04'`` as a cast of its text, which sqlglot would cut, and the index of its last token."""
    word, text, last = tokens[index], tokens[index + 1], index + 1
    value = text.text
    if index + 2 < len(tokens) and tokens[index + 2].text.lower() in _INTERVAL_UNITS:
        last = index + 2
        unit = tokens[last].text.lower()
        if index + 4 < len(tokens) and tokens[index + 3].text.lower() == "to":
            # A field range says how the text is read: 1-2 is years and months, 1 02:03 days and a clock.
            last = index + 4
            value = _clock_of(value, unit, tokens[last].text.lower())
        elif re.fullmatch(r"\s*[+-]?[0-9.]+\s*", value):
            value = f"{value} {unit}"
    # A cast binds tighter than any operator, so it needs no parentheses.
    constant = [_token(TokenType.STRING, value, text), _token(TokenType.DCOLON, "::", word), word]
    return constant, last


def _is_named_like_a_unit(token: Token) -> bool:
    """A name behind an interval that sqlglot takes for the interval's unit: h, d, ms."""
    known = token.text.upper() in Postgres.VALID_INTERVAL_UNITS
    return token.token_type is TokenType.VAR and known and token.text.lower() not in _INTERVAL_UNITS


def _is_array_name(tokens: list[Token], index: int) -> bool:
    if tokens[index].token_type not in (TokenType.OBJECT_IDENTIFIER, TokenType.VAR, TokenType.NAME):
        return False
    following = [t.token_type for t in tokens[index + 1 : index + 3]]
    return following == [TokenType.L_BRACKET, TokenType.R_BRACKET]


def _clock_of(value: str, first: str, last: str) -> str:
    """The text of ``interval '…' first TO second`` as one that says its units itself."""
    years = re.fullmatch(r"\s*([+-]?)(\d+)-(\d+)\s*", value)
    if years is not None:
        return f"{years[1]}{years[2]} years {years[1]}{years[3]} months"
    days = re.fullmatch(r"\s*([+-]?\d+)\s+(\S+)\s*", value)
    if days is not None:
        return f"{days[1]} days {days[2]}{' hours' if last == 'hour' and days[2].isdigit() else ''}"
    if first == "minute" and value.count(":") == 1:
        return f"00:{value.strip()}"
    return value


def _constant_start(tokens: list[Token]) -> int | None:
    """Where ``type 'string'`` at the end of some tokens begins; None when the string has no type before it."""
    at = len(tokens) - 2
    if at >= 3 and tokens[at].text.lower() == "zone" and tokens[at - 1].text.lower() == "time":
        at -= 3
    return at if at >= 0 and tokens[at].token_type in _CONSTANT_TYPES else None


def _token(kind: TokenType, text: str, like: Token) -> Token:
    return Token(kind, text, like.line, like.col, like.start, like.end)


def _check_nesting(lexed: Sequence[lexer.Token]) -> None:
    """sqlglot's compiled parser recurses on the C stack: depth is bounded before it starts."""
    depth = prefixes = 0
    for token in lexed:
        if token.kind == "operator" or token.is_word("not"):
            prefixes += 1
        else:
            prefixes = 0
        if token.value in ("(", "[") or token.is_word("case"):
            depth += 1
        elif token.value in (")", "]") or token.is_word("end"):
            depth = max(0, depth - 1)
        if depth > limits.MAX_NESTING or prefixes > limits.MAX_NESTING:
            raise StatementTooComplex(
                f"statement is nested more than {limits.MAX_NESTING} levels deep",
                hint="Nest the statement less deeply.",
            )


def _syntax_error(text: str, found: Sequence[lexer.Token], error: ParseError | TokenError) -> SqlSyntaxError:
    details = getattr(error, "errors", None)
    if not details or not found:
        return SqlSyntaxError("syntax error at end of input", position=len(text) + 1)
    detail = details[0]
    description = str(detail["description"])
    # A missing token at the end is told with the last one that was there, or as a sentinel.
    unexpected = "Unexpected" in description or ("but got <Token" in description and "SENTINEL" not in description)
    start = _offset(text, int(detail["line"]), int(detail["col"]), str(detail["highlight"]))
    for token in found:
        if token.start <= start < token.end or token.start > start:
            if token is found[-1] and not unexpected:
                break
            return lexer.syntax_error(text, token.start, token.end)
    return SqlSyntaxError("syntax error at end of input", position=len(text) + 1)


def _offset(text: str, line: int, column: int, highlight: str) -> int:
    """sqlglot gives the line and the column of a token's last character; the first is what PostgreSQL points at."""
    lines = text.split("\n")
    end = sum(len(each) + 1 for each in lines[: line - 1]) + column
    return max(0, end - len(highlight))
