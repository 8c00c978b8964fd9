"""CREATE, ALTER and DROP of roles and tokens: from tokens of the text to changes. ``grants`` reads GRANT and REVOKE.

A password is turned into a SCRAM verifier here, with a salt drawn at this moment, or comes as one (psql's
``\\password`` makes it on the client's side, so that the server never sees the password). A token's text is drawn
here, shown once, and kept as its SHA-256.

Source of the grammar: PostgreSQL 15 manual, CREATE ROLE, ALTER ROLE, ALTER GROUP, DROP ROLE; CREATE TOKEN is ours.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tsdb import datetimes
from tsdb.errors import FeatureNotSupported, InvalidParameterValue, SqlSyntaxError, UndefinedObject
from tsdb.model import scram
from tsdb.model.role_changes import (
    AddToken,
    AlterRole,
    CreateRole,
    DropRole,
    DropToken,
    GrantRole,
    RenameRole,
    RevokeRole,
)
from tsdb.model.roles import Role, Token
from tsdb.model.schema import Catalog, SchemaChange
from tsdb.sql.context import Context
from tsdb.sql.ddl import grants, owned, role_settings
from tsdb.sql.ddl.role_names import role_name, role_names
from tsdb.sql.notice import Notice, notice
from tsdb.sql.reader import Reader
from tsdb.sql.statement import Ddl
from tsdb.zones import zone

TOKEN_PREFIX = "tsdb_"
TOKEN_BYTES = 32
PASSWORD_CHARACTERS_MAX = 4096
_ROLE_WORDS = ("role", "user", "group")


@dataclass(frozen=True, slots=True)
class RolePlan:
    """Like ``ddl.SchemaPlan``; ``token`` is the text of a new token, the statement's only row."""

    tag: str
    changes: tuple[SchemaChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    token: str | None = None


def makes_token(statement: Ddl) -> bool:
    """Whether a statement gives a row: CREATE TOKEN."""
    tokens = statement.tokens
    return len(tokens) > 1 and tokens[0].is_word("create") and tokens[1].is_word("token")


def plan(statement: Ddl, context: Context, catalog: Catalog) -> RolePlan | None:
    """The changes that a statement on roles, grants or owners asks for; None for any other statement."""
    reader = Reader(statement.fragment)
    verb = reader.take().value
    if verb in ("grant", "revoke"):
        changes, notices = grants.read(reader, context, catalog, revoke=verb == "revoke")
        reader.finish()
        return RolePlan(verb.upper(), changes, notices)
    if verb == "reassign":
        return RolePlan("REASSIGN OWNED", owned.reassign(reader, context))
    if verb == "alter" and reader.accept("default", "privileges"):
        raise FeatureNotSupported(
            "default privileges are not supported",
            hint="Membership in pg_read_all_data or pg_write_all_data covers tables to come.",
        )
    word = reader.accept_any(*_ROLE_WORDS, "token", "owned")
    read = _READERS.get((verb, "role" if word in _ROLE_WORDS else word or ""))
    if read is not None:
        found = read(reader, context, catalog)
        reader.finish()
        return found
    setting = role_settings.of_database(reader, context, catalog) if verb == "alter" and word is None else None
    if setting is not None:
        reader.finish()
        return RolePlan("ALTER DATABASE", (setting,))
    owner = grants.owner_change(reader, context, catalog) if verb == "alter" and word is None else None
    return None if owner is None else RolePlan(owner[0], owner[1])


# --- CREATE ROLE, ALTER ROLE ---


class _Options:
    """The options of CREATE ROLE and ALTER ROLE, each at most once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.attributes: dict[str, Any] = {}
        self.lists: dict[str, tuple[str, ...]] = {}
        self.notices: list[Notice] = []

    def put(self, name: str, value: Any) -> None:
        if name in self.attributes:
            raise SqlSyntaxError("conflicting or redundant options")
        self.attributes[name] = value

    def add(self, name: str, roles: list[str]) -> None:
        self.lists[name] = (*self.lists.get(name, ()), *roles)


_FLAGS = {
    "superuser": "superuser",
    "createdb": "create_database",
    "createrole": "create_role",
    "inherit": "inherit",
    "login": "login",
}
_ABSENT = {"replication": "REPLICATION", "bypassrls": "BYPASSRLS"}


def _read_options(reader: Reader, context: Context) -> _Options:
    options = _Options(context)
    reader.accept("with")
    while not reader.at_end:
        _read_option(reader, options)
    return options


def _read_option(reader: Reader, options: _Options) -> None:
    token = reader.peek()
    word = token.value if token is not None and token.kind == "word" else ""
    plain = word.removeprefix("no")
    if word in _FLAGS or plain in _FLAGS:
        reader.take()
        options.put(_FLAGS.get(word) or _FLAGS[plain], word in _FLAGS)
    elif word in _ABSENT:
        raise FeatureNotSupported(f"roles cannot have {_ABSENT[word]} here")
    elif plain in _ABSENT:
        reader.take()
    elif reader.accept("encrypted", "password") or reader.accept("password"):
        options.put("verifier", _verifier(reader, options))
    elif reader.accept("unencrypted"):
        raise SqlSyntaxError("UNENCRYPTED PASSWORD is no longer supported", hint="Remove UNENCRYPTED.")
    elif reader.accept("connection", "limit"):
        options.put("connection_limit", _connection_limit(reader))
    elif reader.accept("valid", "until"):
        options.put("valid_until_us", _instant(reader, options.context))
    elif reader.accept("in"):
        if reader.accept_any("role", "group") is None:
            raise reader.error()
        options.add("member_of", role_names(reader, options.context))
    elif reader.accept_any("role", "user"):
        options.add("members", role_names(reader, options.context))
    elif reader.accept("admin"):
        options.add("admins", role_names(reader, options.context))
    elif reader.accept("sysid"):
        reader.integer()
        options.notices.append(notice("SYSID can no longer be specified"))
    elif word:
        raise SqlSyntaxError(f'unrecognized role option "{word}"', position=reader.error().position)
    else:
        raise reader.error()


def _verifier(reader: Reader, options: _Options) -> str | None:
    if reader.accept("null"):
        return None
    text = reader.string()
    found = scram.parse(text)
    if text == "" or (found is not None and found.accepts("")):
        options.notices.append(notice("empty string is not a valid password, clearing password"))
        return None
    if found is not None:
        return text
    return verifier_of(text)


def verifier_of(password: str) -> str:
    """The verifier of a password in clear text, with a new salt. Raises for what is no password."""
    if password.startswith("md5") and len(password) == 35:
        raise FeatureNotSupported(
            "MD5 password hashes are not supported", hint="Give the password itself or a SCRAM-SHA-256 verifier."
        )
    if password.startswith("SCRAM-SHA-256$"):
        raise InvalidParameterValue("this SCRAM-SHA-256 verifier cannot be read")
    if not password or len(password) > PASSWORD_CHARACTERS_MAX:
        raise InvalidParameterValue(f"a password has 1 to {PASSWORD_CHARACTERS_MAX} characters")
    return scram.make(password, secrets.token_bytes(scram.SALT_BYTES)).text


def _connection_limit(reader: Reader) -> int:
    negative = reader.accept_sign("-")
    limit = -reader.integer() if negative else reader.integer()
    if not -1 <= limit < 2**31:
        raise InvalidParameterValue(f"invalid connection limit: {limit}")
    return limit


def _instant(reader: Reader, context: Context) -> int | None:
    """A time in µs; None for infinity."""
    text = reader.string()
    if text.strip().lower() == "infinity":
        return None
    return datetimes.parse_timestamptz(text, datetimes.Context(zone(context.time_zone), context.now_us)).us


def _create_role(reader: Reader, context: Context, catalog: Catalog) -> RolePlan:
    is_user = reader.tokens[reader.at - 1].value == "user"
    name = _new_name(reader)
    options = _read_options(reader, context)
    role = Role(0, name, **{"login": is_user, **options.attributes})
    lists = options.lists
    change = CreateRole(role, lists.get("member_of", ()), lists.get("members", ()), lists.get("admins", ()))
    return RolePlan("CREATE ROLE", (change,), tuple(options.notices))


def _new_name(reader: Reader) -> str:
    token = reader.peek()
    if token is not None and token.is_word("current_user", "session_user", "current_role"):
        raise SqlSyntaxError(f"{token.value.upper()} cannot be used as a role name here")
    return reader.name()


def _alter_role(reader: Reader, context: Context, catalog: Catalog) -> RolePlan:
    is_group = reader.tokens[reader.at - 1].value == "group"
    every = not is_group and reader.accept("all")
    name = "" if every else role_name(reader, context)
    if every or any(reader.at_words(word) for word in ("set", "reset", "in")):
        database = None
        if reader.accept("in", "database"):
            database = catalog.find(reader.name()).name
        made = role_settings.read(reader, context, catalog, None if every else name, database)
        return RolePlan("ALTER ROLE", (made,))
    if reader.accept("rename", "to"):
        return _rename(name, _new_name(reader), catalog)
    if is_group and (word := reader.accept_any("add", "drop")):
        reader.expect("user")
        members = role_names(reader, context)
        memberships = [GrantRole(name, each) if word == "add" else RevokeRole(name, each) for each in members]
        return RolePlan("ALTER ROLE", tuple(memberships))
    options = _read_options(reader, context)
    changes: list[SchemaChange] = [AlterRole(name, tuple(options.attributes.items()))]
    if options.lists.keys() - {"members"}:
        raise reader.error()
    changes += [GrantRole(name, each) for each in options.lists.get("members", ())]
    return RolePlan("ALTER ROLE", tuple(changes), tuple(options.notices))


def _rename(name: str, to: str, catalog: Catalog) -> RolePlan:
    catalog.roles.find(name)
    return RolePlan("ALTER ROLE", (RenameRole(name, to),))


def _drop_role(reader: Reader, context: Context, catalog: Catalog) -> RolePlan:
    if_exists = reader.accept("if", "exists")
    changes: list[SchemaChange] = []
    notices: list[Notice] = []
    for name in role_names(reader, context):
        if name not in catalog.roles.by_name and if_exists:
            notices.append(notice(f'role "{name}" does not exist, skipping'))
        else:
            changes.append(DropRole(catalog.roles.find(name).name))
    return RolePlan("DROP ROLE", tuple(changes), tuple(notices))


def _drop_owned(reader: Reader, context: Context, catalog: Catalog) -> RolePlan:
    return RolePlan("DROP OWNED", owned.drop(reader, context, catalog))


# --- tokens ---


def _create_token(reader: Reader, context: Context, catalog: Catalog) -> RolePlan:
    """CREATE TOKEN name [FOR role] [VALID UNTIL 'time']"""
    name = reader.name()
    role = role_name(reader, context) if reader.accept("for") else context.user
    if role not in catalog.roles.by_name:
        role = catalog.roles.name_of(context.role)
    until = _instant(reader, context) if reader.accept("valid", "until") else None
    text = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    token = Token(name, digest_of(text), context.now_us, until)
    return RolePlan("CREATE TOKEN", (AddToken(role, token),), token=text)


def digest_of(token: str) -> bytes:
    """What is kept of a token. It has 256 random bits: one hash without a salt is enough."""
    return hashlib.sha256(token.encode()).digest()


def _drop_token(reader: Reader, context: Context, catalog: Catalog) -> RolePlan:
    if_exists = reader.accept("if", "exists")
    name = reader.name()
    if not any(token.name == name for _, token in catalog.roles.tokens.values()):
        if if_exists:
            return RolePlan("DROP TOKEN", notices=(notice(f'token "{name}" does not exist, skipping'),))
        raise UndefinedObject(f'token "{name}" does not exist')
    return RolePlan("DROP TOKEN", (DropToken(name),))


_READERS: dict[tuple[str, str], Callable[[Reader, Context, Catalog], RolePlan]] = {
    ("create", "role"): _create_role,
    ("alter", "role"): _alter_role,
    ("drop", "role"): _drop_role,
    ("drop", "owned"): _drop_owned,
    ("create", "token"): _create_token,
    ("drop", "token"): _drop_token,
}
