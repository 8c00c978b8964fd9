"""Who a session is: who logged in, the session's user and the current role, which SET changes.

Both are settings (``session_authorization``, ``role``), so that a transaction that is rolled back takes their change
with it and SET LOCAL ends with its transaction. They hold names; a role that is dropped or renamed meanwhile has no
privileges left, except the one that logged in, which is known by its number.

Source: PostgreSQL 15 manual, SET ROLE, SET SESSION AUTHORIZATION.
"""

from __future__ import annotations

from collections.abc import Callable

from tsdb.errors import InsufficientPrivilege
from tsdb.model.access import Identity
from tsdb.model.roles import Roles
from tsdb.session.variables import Variables

NOBODY = -1
_NO_ROLE = "none"


class SessionIdentity:
    def __init__(self, login: Identity, variables: Variables, roles: Callable[[], Roles]) -> None:
        self.login = login
        self._variables = variables
        self._roles = roles
        variables.assume_start("session_authorization", login.name)
        variables.assume_start("is_superuser", self._is_superuser(login))

    @property
    def session(self) -> Identity:
        """session_user."""
        return self._named(self._variables.get("session_authorization"))

    @property
    def current(self) -> Identity:
        """current_user: whose privileges hold."""
        name = self._variables.get("role")
        return self.session if name == _NO_ROLE else self._named(name)

    def set_role(self, name: str | None, *, local: bool) -> None:
        """SET ROLE; None is NONE. Raises UndefinedObject, InsufficientPrivilege."""
        if name is not None:
            number = self._roles().find(name).number
            if not self._roles().is_member(self.session.role, number):
                raise InsufficientPrivilege(f'permission denied to set role "{name}"')
        self._variables.assume("role", name or _NO_ROLE, local=local)
        self._tell(local=local)

    def set_session(self, name: str | None, *, local: bool) -> None:
        """SET SESSION AUTHORIZATION; None is DEFAULT. Only a superuser that logged in may become somebody else."""
        wanted = self.login.name if name is None else name
        if wanted != self.login.name:
            self._roles().find(wanted)
            login = self._roles().by_number.get(self.login.role)
            if login is None or not login.superuser:
                raise InsufficientPrivilege("permission denied to set session authorization")
        self._variables.assume("session_authorization", wanted, local=local)
        self._variables.assume("role", _NO_ROLE, local=local)
        self._tell(local=local)

    def _tell(self, *, local: bool) -> None:
        self._variables.assume("is_superuser", self._is_superuser(self.current), local=local)

    def _is_superuser(self, who: Identity) -> str:
        role = self._roles().by_number.get(who.role)
        return "on" if role is not None and role.superuser else "off"

    def _named(self, name: str) -> Identity:
        if name == self.login.name:
            return self.login
        found = self._roles().by_name.get(name)
        return Identity(found.number if found is not None else NOBODY, name)
