"""Before a server serves other machines somebody must have a password, or ``insecure`` be said."""

from __future__ import annotations

import logging

from tsdb.cluster.node import Node
from tsdb.config import EMBEDDED, Settings, admin_password, is_loopback
from tsdb.errors import ConfigurationError, TsdbError
from tsdb.model.access import Access, Policy
from tsdb.model.role_changes import AlterRole
from tsdb.model.roles import FIRST
from tsdb.sql.ddl.roles import verifier_of
from tsdb.storage.rocks import is_there

log = logging.getLogger(__name__)


def rules_of(settings: Settings) -> Access:
    return Access(Policy(settings.insecure, settings.loopback_password, settings.tls_required))


def check_before_open(settings: Settings) -> None:
    """Refuse what cannot be before a data directory is made. Raises ConfigurationError."""
    # Who joins a cluster gets its users.
    if admin_password() is None and not is_there(settings.data) and not _comes_to_others(settings):
        _check_reachable(settings, has_passwords=False)


def _comes_to_others(settings: Settings) -> bool:
    return bool(settings.join) or settings.metadata != EMBEDDED


def prepare(node: Node, settings: Settings) -> None:
    """Give the first role its password from the environment, if it has none; then refuse to serve other machines while
    nobody could log in. Raises ConfigurationError."""
    password = admin_password()
    first = node.catalog.roles.by_number[FIRST]
    if password is not None and first.verifier is None:
        try:
            verifier = verifier_of(password)
        except TsdbError as error:
            raise ConfigurationError(f"wrong TSDB_ADMIN_PASSWORD: {error.message}") from None
        node.change(AlterRole(first.name, (("verifier", verifier),)))
        log.info("the user %s has its password from TSDB_ADMIN_PASSWORD", first.name)
    _check_reachable(settings, has_passwords=node.catalog.roles.has_passwords)


def _check_reachable(settings: Settings, *, has_passwords: bool) -> None:
    if is_loopback(settings.host) or settings.insecure or has_passwords:
        return
    where = f"--data {settings.data}" if settings.metadata == EMBEDDED else f"--metadata {settings.metadata}"
    raise ConfigurationError(
        f"host {settings.host} can be reached by other machines and no user has a password: add one with "
        f'"tsdb user add NAME --superuser {where}" or set TSDB_ADMIN_PASSWORD, or say --insecure to let '
        "everybody who reaches it read, write and delete"
    )
