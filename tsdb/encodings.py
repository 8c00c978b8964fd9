"""Encodings that a client may have beside UTF-8: those of one byte a character, all of which hold ASCII.

The server's own is UTF8, always; conversion is at the wire's edge. SQL_ASCII means bytes as they are, which are UTF-8.

Source: PostgreSQL 15 manual, 24.3 (character sets), table 24.3 and src/common/encnames.c for the names.
"""

from __future__ import annotations

import re

from tsdb.errors import CharacterNotInRepertoire, FeatureNotSupported, UntranslatableCharacter

UTF8 = "utf-8"
_ISO = {"LATIN1": 1, "LATIN2": 2, "LATIN3": 3, "LATIN4": 4, "LATIN5": 9, "LATIN6": 10, "LATIN7": 13, "LATIN8": 14,
        "LATIN9": 15, "LATIN10": 16}  # fmt: skip
# PostgreSQL's name → Python's codec.
_CODECS = {
    "UTF8": UTF8,
    "SQL_ASCII": UTF8,
    **{name: f"iso8859-{part}" for name, part in _ISO.items()},
    **{f"ISO_8859_{part}": f"iso8859-{part}" for part in (5, 6, 7, 8)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
}
_ALIASES = {
    "unicode": "UTF8", "alt": "WIN866", "win": "WIN1251", "koi8": "KOI8R", "abc": "WIN1258", "tcvn": "WIN1258",
    "tcvn5712": "WIN1258", "vscii": "WIN1258", **{f"iso8859{part}": name for name, part in _ISO.items()},
    **{f"windows{page}": f"WIN{page}" for page in (866, 874, *range(1250, 1259))},
}  # fmt: skip
_NAMES = _ALIASES | {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in _CODECS}
# Those that PostgreSQL has besides, of several bytes a character.
_OTHERS = frozenset({
    "big5", "euccn", "eucjp", "eucjis2004", "euckr", "euctw", "gb18030", "gbk", "johab", "muleinternal", "sjis",
    "mskanji", "shiftjis", "win932", "windows932", "shiftjis2004", "uhc", "win949", "windows949", "win950",
    "windows950", "win936", "windows936",
})  # fmt: skip


def name_of(text: str) -> str | None:
    """PostgreSQL's name of an encoding, None for none. Raises FeatureNotSupported for one that is not had here."""
    folded = re.sub(r"[^a-z0-9]", "", text.lower())
    if folded in _OTHERS:
        raise FeatureNotSupported(
            f"conversion between {text.upper()} and UTF8 is not supported", hint="Use the client encoding UTF8."
        )
    return _NAMES.get(folded)


def codec_of(name: str) -> str:
    """Python's codec of an encoding by PostgreSQL's name of it."""
    return _CODECS[name]


def decoded(octets: bytes, codec: str = UTF8) -> str:
    """A client's text. Raises CharacterNotInRepertoire, UntranslatableCharacter: they name the bytes, as PostgreSQL."""
    try:
        return octets.decode(codec)
    except UnicodeDecodeError as error:
        shown = _shown(octets[error.start : error.end])
    if codec == UTF8:
        raise CharacterNotInRepertoire(f'invalid byte sequence for encoding "UTF8": {shown}')
    raise UntranslatableCharacter(
        f'character with byte sequence {shown} in encoding "{_name(codec)}" has no equivalent in encoding "UTF8"'
    )


def encoded(text: str, codec: str) -> bytes:
    """A text for a client. Raises UntranslatableCharacter for what its encoding does not have."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        shown = _shown(text[error.start].encode())
    raise UntranslatableCharacter(
        f'character with byte sequence {shown} in encoding "UTF8" has no equivalent in encoding "{_name(codec)}"'
    )


def _shown(octets: bytes) -> str:
    return " ".join(f"0x{octet:02x}" for octet in octets)


def _name(codec: str) -> str:
    return next((name for name, of in _CODECS.items() if of == codec), codec.upper())
