"""Roles: who may connect and what they are allowed to; users and groups are roles, as in PostgreSQL.

A role's number is its OID. ``FIRST`` (OID 10, PostgreSQL's bootstrap superuser) is there from the first start, owns
what nobody else does, and cannot be dropped. Predefined roles (``pg_read_all_data`` …) are not stored. Secrets are kept
only as what checks them: a password as a SCRAM verifier, a token as its SHA-256.

Source: PostgreSQL 15 manual, chapter 22 (database roles), 53.8 (pg_authid), 53.9 (pg_auth_members).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tsdb.errors import UndefinedObject

FIRST = 10
FIRST_NAME = "tsdb"
PUBLIC = 0
# FirstNormalObjectId: what PostgreSQL gives to the first object that a user makes.
FIRST_OWN_NUMBER = 16384

MONITOR = 3373
READ_ALL_SETTINGS = 3374
READ_ALL_STATS = 3375
STAT_SCAN_TABLES = 3377
SIGNAL_BACKEND = 4200
CHECKPOINT = 4544
READ_SERVER_FILES = 4569
WRITE_SERVER_FILES = 4570
EXECUTE_SERVER_PROGRAM = 4571
DATABASE_OWNER = 6171
READ_ALL_DATA = 6181
WRITE_ALL_DATA = 6182


@dataclass(frozen=True, slots=True)
class Membership:
    """``role`` is the number of the role one is a member of; ``admin`` may hand the membership on."""

    role: int
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A secret for HTTP that stands for its role. ``digest`` is the SHA-256 of its text, which nobody keeps."""

    name: str
    digest: bytes
    created_us: int
    valid_until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """One row of pg_authid. ``verifier`` is the text form of a SCRAM verifier (``tsdb.model.scram``), None for no
    password; ``valid_until_us`` bounds the password, not the role; ``connection_limit`` −1 is none."""

    number: int
    name: str
    superuser: bool = False
    inherit: bool = True
    create_role: bool = False
    create_database: bool = False
    login: bool = False
    connection_limit: int = -1
    verifier: str | None = None
    valid_until_us: int | None = None
    member_of: tuple[Membership, ...] = ()
    tokens: tuple[Token, ...] = ()


FIRST_ROLE = Role(FIRST, FIRST_NAME, superuser=True, create_role=True, create_database=True, login=True)

_MONITORED = (Membership(READ_ALL_SETTINGS), Membership(READ_ALL_STATS), Membership(STAT_SCAN_TABLES))
# Some of them give nothing here, where no SQL reaches files and programs: scripts grant them.
PREDEFINED: Mapping[int, Role] = {
    role.number: role
    for role in (
        Role(MONITOR, "pg_monitor", member_of=_MONITORED),
        Role(READ_ALL_SETTINGS, "pg_read_all_settings"),
        Role(READ_ALL_STATS, "pg_read_all_stats"),
        Role(STAT_SCAN_TABLES, "pg_stat_scan_tables"),
        Role(SIGNAL_BACKEND, "pg_signal_backend"),
        Role(CHECKPOINT, "pg_checkpoint"),
        Role(READ_SERVER_FILES, "pg_read_server_files"),
        Role(WRITE_SERVER_FILES, "pg_write_server_files"),
        Role(EXECUTE_SERVER_PROGRAM, "pg_execute_server_program"),
        Role(DATABASE_OWNER, "pg_database_owner"),
        Role(READ_ALL_DATA, "pg_read_all_data"),
        Role(WRITE_ALL_DATA, "pg_write_all_data"),
    )
}


@dataclass(frozen=True, slots=True)
class RoleSetting:
    """What a setting begins with in sessions of a role (0: of all) in a database (0: in all); ``value`` as given."""

    database: int
    role: int
    name: str
    value: str


@dataclass(frozen=True)
class Roles:
    """All roles of a catalog. ``stored`` are those that are not predefined, by number.

    ``secret`` is random and makes the salts of names that no role has, so that they cannot be told from those of roles;
    empty before the first start.
    """

    stored: Mapping[int, Role] = field(default_factory=lambda: {FIRST: FIRST_ROLE})
    next_number: int = FIRST_OWN_NUMBER
    secret: bytes = b""
    settings: tuple[RoleSetting, ...] = ()

    @cached_property
    def by_number(self) -> Mapping[int, Role]:
        return {**PREDEFINED, **self.stored}

    @cached_property
    def by_name(self) -> Mapping[str, Role]:
        return {role.name: role for role in self}

    @cached_property
    def tokens(self) -> Mapping[bytes, tuple[Role, Token]]:
        """Every token by its digest."""
        return {token.digest: (role, token) for role in self.stored.values() for token in role.tokens}

    def __iter__(self) -> Iterator[Role]:
        """By number."""
        return (role for _, role in sorted(self.by_number.items()))

    def find(self, name: str) -> Role:
        """Raises UndefinedObject."""
        try:
            return self.by_name[name]
        except KeyError:
            raise UndefinedObject(f'role "{name}" does not exist') from None

    def name_of(self, number: int) -> str:
        """pg_get_userbyid."""
        role = self.by_number.get(number)
        return role.name if role is not None else f"unknown (OID={number})"

    @property
    def has_passwords(self) -> bool:
        """Whether somebody can log in with a password."""
        return any(role.login and role.verifier is not None for role in self.stored.values())

    def settings_at_login(self, database: int, role: int) -> tuple[RoleSetting, ...]:
        """What ALTER ROLE and ALTER DATABASE have set for a session; of one setting the last decides."""
        order = ((0, 0), (database, 0), (0, role), (database, role))
        found = [each for each in self.settings if (each.database, each.role) in order]
        return tuple(sorted(found, key=lambda each: order.index((each.database, each.role))))

    # --- membership ---

    def is_member(self, role: int, of: int) -> bool:
        """Whether ``role`` may become ``of`` by SET ROLE: a superuser may become anybody."""
        found = self.by_number.get(role)
        return found is not None and (found.superuser or of in self._reached(role, inheriting=False))

    def has_rights_of(self, role: int, of: int) -> bool:
        """Whether ``role`` has ``of``'s rights without SET ROLE: by memberships of roles that inherit."""
        found = self.by_number.get(role)
        return found is not None and (found.superuser or of in self._reached(role, inheriting=True))

    def inherited(self, role: int) -> frozenset[int]:
        """The roles whose rights ``role`` has, itself and PUBLIC included; a superuser's rights need none of them."""
        return self._reached(role, inheriting=True) | {PUBLIC}

    def is_granted(self, role: int, of: int) -> bool:
        """Whether ``role`` is ``of`` or a member of it by grants alone, superuser or not."""
        return of in self._reached(role, inheriting=False)

    def _reached(self, role: int, *, inheriting: bool) -> frozenset[int]:
        seen: set[int] = set()
        todo = [role]
        while todo:
            number = todo.pop()
            found = self.by_number.get(number)
            if number in seen or found is None:
                continue
            seen.add(number)
            if found.inherit or not inheriting:
                todo += [membership.role for membership in found.member_of]
        return frozenset(seen)
