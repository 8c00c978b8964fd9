"""A cursor over a statement's tokens, for the statements that are read by hand: DDL, settings, transactions."""

from __future__ import annotations

from typing import NamedTuple

from tsdb.errors import SqlSyntaxError, UndefinedTable
from tsdb.sql import lexer
from tsdb.sql.lexer import Token
from tsdb.sql.statement import Fragment
from tsdb.types import SqlType

_OPEN = {"(": 1, "[": 1, ")": -1, "]": -1}


class QualifiedName(NamedTuple):
    """A relation's name as it is written; ``schema`` is empty where none is."""

    schema: str
    name: str


class Reader:
    """Reads from the first token on. Every ``expect`` moves on or raises SqlSyntaxError at the token that is there."""

    def __init__(self, fragment: Fragment, at: int = 0) -> None:
        self.fragment = fragment
        self.tokens = fragment.tokens
        self.at = at

    @property
    def at_end(self) -> bool:
        return self.at >= len(self.tokens)

    def peek(self, ahead: int = 0) -> Token | None:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else None

    def take(self) -> Token:
        if self.at_end:
            raise self.error()
        self.at += 1
        return self.tokens[self.at - 1]

    def error(self) -> SqlSyntaxError:
        """The error for a token that does not fit here."""
        token = self.peek()
        text = self.fragment.text
        start, end = (token.start, token.end) if token is not None else (len(text), len(text))
        error = lexer.syntax_error(text, start, end)
        error.position = (error.position or 0) + self.fragment.offset
        return error

    def position(self, token: Token) -> int:
        """A token's 1-based character in the whole message."""
        return self.fragment.offset + token.start + 1

    # --- words ---

    def at_words(self, *words: str) -> bool:
        return all((t := self.peek(i)) is not None and t.is_word(word) for i, word in enumerate(words))

    def accept(self, *words: str) -> bool:
        """Take these words, all of them in a row, or none."""
        if not self.at_words(*words):
            return False
        self.at += len(words)
        return True

    def accept_any(self, *words: str) -> str | None:
        """Take one word out of several."""
        token = self.peek()
        if token is None or not token.is_word(*words):
            return None
        self.at += 1
        return token.value

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.accept(word):
                raise self.error()

    # --- signs ---

    def at_sign(self, sign: str) -> bool:
        token = self.peek()
        return token is not None and token.kind in ("punctuation", "operator") and token.value == sign

    def accept_sign(self, sign: str) -> bool:
        if not self.at_sign(sign):
            return False
        self.at += 1
        return True

    def expect_sign(self, sign: str) -> None:
        if not self.accept_sign(sign):
            raise self.error()

    # --- names and values ---

    def name(self) -> str:
        token = self.peek()
        if token is None or token.kind not in ("word", "quoted"):
            raise self.error()
        self.at += 1
        return token.value

    def names(self) -> list[str]:
        """``(a, b, …)``."""
        self.expect_sign("(")
        found = [self.name()]
        while self.accept_sign(","):
            found.append(self.name())
        self.expect_sign(")")
        return found

    def relation(self, database: str) -> QualifiedName:
        """The name of a relation in ``database``, without asking what there is; its schema may come before it."""
        parts = [self.name()]
        while self.accept_sign("."):
            parts.append(self.name())
        if len(parts) > 3 or (len(parts) == 3 and parts[0] != database):
            raise UndefinedTable(f'relation "{".".join(parts)}" does not exist')
        return QualifiedName(parts[-2] if len(parts) > 1 else "", parts[-1])

    def own_type(self, schema: str, name: str) -> SqlType | None:
        """The database's own type of a name; a reader that knows no database knows none."""
        return None

    def string(self) -> str:
        token = self.peek()
        if token is None or token.kind != "string":
            raise self.error()
        self.at += 1
        return token.value

    def integer(self) -> int:
        token = self.peek()
        if token is None or token.kind != "number" or not token.value.isdigit() or len(token.value) > 18:
            raise self.error()
        self.at += 1
        return int(token.value)

    def parenthesized(self) -> str:
        """The text between a parenthesis and its partner."""
        start = self.peek()
        self.expect_sign("(")
        assert start is not None
        depth = 1
        while depth:
            token = self.take()
            if token.kind == "punctuation":
                depth += _OPEN.get(token.value, 0)
        return self.fragment.text[start.end : token.start]

    def rest(self) -> Fragment:
        """What is left, as a fragment of its own."""
        token = self.peek()
        if token is None:
            raise self.error()
        self.at = len(self.tokens)
        return self.fragment.tail(token.start)

    def finish(self) -> None:
        if not self.at_end:
            raise self.error()
