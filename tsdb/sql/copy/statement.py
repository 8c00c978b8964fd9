"""COPY: from tokens to what it copies, by both spellings of the options, the one of 7.3 and 9.0 and today's.

Source of the grammar: PostgreSQL 15 manual, COPY; gram.y (CopyStmt, copy_opt_item, copy_generic_opt_elem).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tsdb.errors import InsufficientPrivilege, InvalidParameterValue, SqlSyntaxError
from tsdb.sql.copy import options as copy_options
from tsdb.sql.copy.options import CopyOptions, Names
from tsdb.sql.reader import QualifiedName, Reader
from tsdb.sql.statement import Fragment, Utility

_REDUNDANT = "conflicting or redundant options"
_TRUE, _FALSE = ("true", "on", "1"), ("false", "off", "0")


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY of a table (``relation`` and maybe ``columns``) or of a ``query``; ``incoming`` is FROM STDIN, of the rows
    for which ``where`` is true."""

    relation: QualifiedName | None
    columns: tuple[str, ...] | None
    query: Fragment | None
    incoming: bool
    options: CopyOptions
    where: Fragment | None = None


def read(statement: Utility, database: str) -> Copy:
    """The COPY that a statement says. Raises SqlSyntaxError, and what ``copy_options.resolve`` raises."""
    reader = Reader(statement.fragment, 1)
    given: dict[str, Any] = {}
    relation: QualifiedName | None = None
    columns: tuple[str, ...] | None = None
    query: Fragment | None = None
    if reader.at_sign("("):
        opening = reader.peek()
        assert opening is not None
        text = reader.parenthesized()
        query = statement.fragment.part(opening.end, opening.end + len(text))
        reader.expect("to")
        incoming = False
    else:
        if reader.at_words("binary") and not _is_name(reader):
            reader.take()
            given["format"] = "binary"
        relation = reader.relation(database)
        columns = tuple(reader.names()) if reader.at_sign("(") else None
        direction = reader.accept_any("from", "to")
        if direction is None:
            raise reader.error()
        incoming = direction == "from"
    _place(reader, incoming)
    _Options(reader, given).read(old_delimiters=query is None)
    where = None
    if reader.at_words("where") and incoming:
        reader.take()
        where = reader.rest()
    else:
        reader.finish()
    return Copy(relation, columns, query, incoming, copy_options.resolve(given, incoming=incoming), where)


def _is_name(reader: Reader) -> bool:
    """Whether the word BINARY here is the table's name: what follows says so."""
    following = reader.peek(1)
    return following is None or following.value in ("(", ".") or following.is_word("from", "to")


def _place(reader: Reader, incoming: bool) -> None:
    if reader.accept_any("stdin", "stdout"):
        return
    program = reader.accept("program")
    reader.string()
    what = "an external program" if program else "a file"
    raise InsufficientPrivilege(
        f"COPY {'from' if incoming else 'to'} {what} is not allowed: the server opens no files for its clients",
        hint="Use COPY to stdout or from stdin. psql's \\copy command also works for anyone.",
    )


class _Options:
    """Reads options into ``given``, by the names of ``CopyOptions``."""

    def __init__(self, reader: Reader, given: dict[str, Any]) -> None:
        self._reader = reader
        self._given = given

    def read(self, *, old_delimiters: bool) -> None:
        reader = self._reader
        if old_delimiters:
            using = reader.accept("using")
            if reader.accept("delimiters"):
                self._set("delimiter", reader.string())
            elif using:
                raise reader.error()
        reader.accept("with")
        if reader.accept_sign("("):
            self._generic()
            while reader.accept_sign(","):
                self._generic()
            reader.expect_sign(")")
            return
        while self._old():
            pass

    def _set(self, name: str, value: object) -> None:
        if name in self._given:
            raise SqlSyntaxError(_REDUNDANT)
        self._given[name] = value

    # --- WITH CSV HEADER … ---

    def _old(self) -> bool:
        reader = self._reader
        word = reader.accept_any("binary", "csv", "freeze", "header", "delimiter", "null", "quote", "escape",
                                 "encoding", "force")  # fmt: skip
        if word is None:
            return False
        if word in ("binary", "csv"):
            self._set("format", word)
        elif word == "freeze":
            self._set("freeze", True)
        elif word == "header":
            self._set("header", "on")
        elif word == "encoding":
            self._set("encoding", copy_options.encoding_of(reader.string()))
        elif word == "force":
            self._forced()
        else:
            reader.accept("as")
            self._set(word, reader.string())
        return True

    def _forced(self) -> None:
        reader = self._reader
        if reader.accept("quote"):
            self._set("force_quote", "*" if reader.accept_sign("*") else self._listed())
        elif reader.accept("not", "null"):
            self._set("force_not_null", self._listed())
        else:
            reader.expect("null")
            self._set("force_null", self._listed())

    def _listed(self) -> tuple[str, ...]:
        found = [self._reader.name()]
        while self._reader.accept_sign(","):
            found.append(self._reader.name())
        return tuple(found)

    # --- WITH (FORMAT csv, HEADER, …) ---

    def _generic(self) -> None:
        token = self._reader.peek()
        name = self._reader.name()
        known = _GENERIC.get(name)
        if known is None:
            assert token is not None
            raise SqlSyntaxError(f'option "{name}" not recognized', position=self._reader.position(token))
        known(self, name)

    def _word(self, name: str) -> str:
        """A word, string or number as the option's value."""
        token = self._reader.peek()
        if token is None or token.kind not in ("word", "quoted", "string", "number"):
            raise SqlSyntaxError(f"{name} requires a parameter")
        self._reader.at += 1
        return token.value

    def _bare(self) -> bool:
        return self._reader.at_sign(",") or self._reader.at_sign(")")

    def _boolean(self, name: str) -> bool:
        word = "true" if self._bare() else self._word(name).lower()
        if word not in _TRUE + _FALSE:
            raise SqlSyntaxError(f"{name} requires a Boolean value")
        return word in _TRUE

    def _format(self, name: str) -> None:
        value = self._word(name)
        if value not in ("text", "csv", "binary"):
            raise InvalidParameterValue(f'COPY format "{value}" not recognized')
        self._set("format", value)

    def _freeze(self, name: str) -> None:
        self._set("freeze", self._boolean(name))

    def _text(self, name: str) -> None:
        self._set(name, self._word(name))

    def _header(self, name: str) -> None:
        word = "true" if self._bare() else self._word(name).lower()
        if word not in (*_TRUE, *_FALSE, "match"):
            raise SqlSyntaxError(f'{name} requires a Boolean value or "match"')
        self._set("header", word if word == "match" else "on" if word in _TRUE else "off")

    def _columns(self, name: str) -> None:
        reader = self._reader
        names: Names
        if reader.accept_sign("*"):
            names = "*"
        elif reader.at_sign("("):
            names = tuple(reader.names())
        else:
            raise InvalidParameterValue(f'argument to option "{name}" must be a list of column names')
        self._set(name, names)

    def _encoding(self, name: str) -> None:
        self._set("encoding", copy_options.encoding_of(self._word(name)))

    def _on_error(self, name: str) -> None:
        value = self._word(name)
        if value not in ("stop", "ignore"):
            raise InvalidParameterValue(f'COPY ON_ERROR "{value}" not recognized')
        self._set("ignore_errors", value == "ignore")

    def _log_verbosity(self, name: str) -> None:
        value = self._word(name)
        if value not in ("default", "verbose", "silent"):
            raise InvalidParameterValue(f'COPY LOG_VERBOSITY "{value}" not recognized')
        self._set("verbose", value == "verbose")

    def _reject_limit(self, name: str) -> None:
        value = self._word(name)
        if not value.isdigit() or not 0 < int(value[:19]) < 2**63:
            raise InvalidParameterValue(f"REJECT_LIMIT ({value[:50]}) must be greater than zero")
        self._set("reject_limit", int(value))

    def _batch(self, name: str) -> None:
        value = self._word(name)
        if not value.isdigit() or not 0 < int(value[:20]) < 2**63:
            raise InvalidParameterValue(f"BATCH ({value[:50]}) must be a number from 1")
        self._set("batch", int(value))


_GENERIC = {
    "producer": _Options._text,
    "batch": _Options._batch,
    "format": _Options._format,
    "freeze": _Options._freeze,
    "delimiter": _Options._text,
    "null": _Options._text,
    "header": _Options._header,
    "quote": _Options._text,
    "escape": _Options._text,
    "force_quote": _Options._columns,
    "force_not_null": _Options._columns,
    "force_null": _Options._columns,
    "encoding": _Options._encoding,
    "on_error": _Options._on_error,
    "log_verbosity": _Options._log_verbosity,
    "reject_limit": _Options._reject_limit,
}
