"""COPY's options: what they may be together, and what each is when it is not said.

Source: PostgreSQL 15 manual, COPY; src/backend/commands/copy.c (ProcessCopyOptions). ON_ERROR, LOG_VERBOSITY and
REJECT_LIMIT are those of PostgreSQL 17 and 18.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from typing import Any, Literal

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, SqlSyntaxError
from tsdb.model.store import Producer

Format = Literal["text", "csv", "binary"]
Header = Literal["off", "on", "match"]
# Column names, or all of them.
Names = tuple[str, ...] | Literal["*"] | None

_NOT_A_DELIMITER = "\\.abcdefghijklmnopqrstuvwxyz0123456789"
# PostgreSQL's names of encodings that Python does not know by them.
_ENCODINGS = {
    "unicode": "utf-8",
    "sqlascii": "utf-8",
    **{f"win{number}": f"cp{number}" for number in (866, 874, *range(1250, 1259))},
    **{f"latin{n}": f"iso8859-{n if n < 5 else {5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}[n]}" for n in range(1, 11)},
    "koi8": "koi8-r",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
}


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """``delimiter``, ``quote`` and ``escape`` are single bytes; ``encoding`` is Python's name of the one that is
    asked for, nothing for the client's own."""

    format: Format = "text"
    delimiter: str = "\t"
    null: str = "\\N"
    header: Header = "off"
    quote: str = '"'
    escape: str = '"'
    force_quote: Names = None
    force_not_null: Names = None
    force_null: Names = None
    encoding: str = ""
    ignore_errors: bool = False
    reject_limit: int | None = None
    verbose: bool = False
    producer: str = ""
    batch: int = 0

    @property
    def numbered(self) -> Producer | None:
        """Ours: the number of the transaction."""
        return Producer(self.producer, self.batch) if self.batch else None

    @property
    def binary(self) -> bool:
        return self.format == "binary"


def resolve(given: dict[str, Any], *, incoming: bool) -> CopyOptions:
    """The options of a statement; ``given`` are those it names. ``incoming``: COPY FROM."""
    kind: Format = given.get("format", "text")
    csv = kind == "csv"
    if kind == "binary":
        for name in ("delimiter", "null"):
            if name in given:
                raise SqlSyntaxError(f"cannot specify {name.upper()} in BINARY mode")
    options = CopyOptions(format=kind, delimiter="," if csv else "\t", null="" if csv else "\\N")
    options = replace(options, **{name: value for name, value in given.items() if name != "freeze"})
    if "escape" not in given:
        options = replace(options, escape=options.quote)
    _check_delimiter(options)
    _check_csv(options, given)
    _check_forced(options, incoming)
    if options.delimiter in options.null and not options.binary:
        raise FeatureNotSupported("COPY delimiter must not appear in the NULL specification")
    if csv and options.quote in options.null:
        raise FeatureNotSupported("CSV quote character must not appear in the NULL specification")
    if options.header == "match" and not incoming:
        raise FeatureNotSupported('cannot use "match" with HEADER in COPY TO')
    _check_errors(options, given, incoming)
    _check_number(options, incoming)
    return options


def _check_delimiter(options: CopyOptions) -> None:
    if len(options.delimiter.encode()) != 1:
        raise FeatureNotSupported("COPY delimiter must be a single one-byte character")
    if options.delimiter in "\r\n":
        raise InvalidParameterValue("COPY delimiter cannot be newline or carriage return")
    if "\r" in options.null or "\n" in options.null:
        raise InvalidParameterValue("COPY null representation cannot use newline or carriage return")
    if options.format == "text" and options.delimiter in _NOT_A_DELIMITER:
        raise InvalidParameterValue(f'COPY delimiter cannot be "{options.delimiter}"')
    if options.binary and options.header != "off":
        raise FeatureNotSupported("cannot specify HEADER in BINARY mode")


def _check_csv(options: CopyOptions, given: dict[str, Any]) -> None:
    csv = options.format == "csv"
    for name in ("quote", "escape"):
        if not csv and name in given:
            raise FeatureNotSupported(f"COPY {name} available only in CSV mode")
        if csv and len(getattr(options, name).encode()) != 1:
            raise FeatureNotSupported(f"COPY {name} must be a single one-byte character")
        if csv and name == "quote" and options.delimiter == options.quote:
            raise InvalidParameterValue("COPY delimiter and quote must be different")


def _check_forced(options: CopyOptions, incoming: bool) -> None:
    for name, only_from in (("force_quote", False), ("force_not_null", True), ("force_null", True)):
        words = name.replace("_", " ")
        if getattr(options, name) is None:
            continue
        if options.format != "csv":
            raise FeatureNotSupported(f"COPY {words} available only in CSV mode")
        if only_from != incoming:
            raise FeatureNotSupported(f"COPY {words} only available using COPY {'FROM' if only_from else 'TO'}")


def _check_errors(options: CopyOptions, given: dict[str, Any], incoming: bool) -> None:
    if "ignore_errors" in given and not incoming:
        raise InvalidParameterValue("COPY ON_ERROR cannot be used with COPY TO")
    if options.ignore_errors and options.binary:
        raise SqlSyntaxError("only ON_ERROR STOP is allowed in BINARY mode")
    if options.reject_limit is not None and not options.ignore_errors:
        raise InvalidParameterValue("COPY REJECT_LIMIT requires ON_ERROR to be set to IGNORE")


def _check_number(options: CopyOptions, incoming: bool) -> None:
    if not options.producer and not options.batch:
        return
    if not incoming:
        raise InvalidParameterValue("COPY PRODUCER and BATCH cannot be used with COPY TO")
    if not options.producer or not options.batch:
        raise InvalidParameterValue("COPY PRODUCER and BATCH go together: a name and a number from 1")


def encoding_of(name: str, option: str = "encoding") -> str:
    """Python's name of an encoding by PostgreSQL's. Raises InvalidParameterValue."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    try:
        found = codecs.lookup(_ENCODINGS.get(plain, plain))
        if not found._is_text_encoding:
            raise LookupError(name)
        "".encode(found.name)
    except (LookupError, UnicodeError):
        raise InvalidParameterValue(f'argument to option "{option}" must be a valid encoding name') from None
    return found.name
