"""What session and utility statements say, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.session.scrolling import Motion
from tsdb.sql.statement import Fragment


@dataclass(frozen=True, slots=True)
class Begin:
    tag: str
    modes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    chain: bool = False


@dataclass(frozen=True, slots=True)
class Rollback:
    chain: bool = False


@dataclass(frozen=True, slots=True)
class SetSavepoint:
    name: str


@dataclass(frozen=True, slots=True)
class ReleaseSavepoint:
    name: str


@dataclass(frozen=True, slots=True)
class RollbackTo:
    name: str


@dataclass(frozen=True, slots=True)
class Set:
    """``value`` None is DEFAULT. Several only for SET TRANSACTION and the like."""

    pairs: tuple[tuple[str, str | None], ...]
    local: bool = False
    tag: str = "SET"


@dataclass(frozen=True, slots=True)
class Vacuum:
    """``relations``: (schema or "", name); none are all."""

    relations: tuple[tuple[str, str], ...] = ()
    full: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class RefreshContinuous:
    """CALL refresh_continuous_aggregate of a view in ``schema`` (or "")."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Reset:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Show:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class SetRole:
    """``name`` None is NONE."""

    name: str | None
    local: bool = False
    tag: str = "SET"


@dataclass(frozen=True, slots=True)
class SetSessionAuthorization:
    """``name`` None is DEFAULT: who logged in."""

    name: str | None
    local: bool = False
    tag: str = "SET"


@dataclass(frozen=True, slots=True)
class ShowTokens:
    """The tokens that the current role may see."""


@dataclass(frozen=True, slots=True)
class Discard:
    what: str


@dataclass(frozen=True, slots=True)
class PrepareStatement:
    """``types`` is the text between the parentheses."""

    name: str
    types: str
    body: Fragment
    text: str = ""


@dataclass(frozen=True, slots=True)
class ExecuteStatement:
    """``arguments`` is the text between the parentheses."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Deallocate:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Declare:
    name: str
    hold: bool
    body: Fragment
    scroll: bool = False
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """``count`` None is ALL; ``move`` gives no rows."""

    name: str
    count: int | None
    move: bool = False
    direction: str = "forward"

    @property
    def motion(self) -> Motion:
        return Motion(self.direction, self.count)


@dataclass(frozen=True, slots=True)
class CloseCursor:
    """``name`` None is ALL."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Write recent points to blocks now."""


@dataclass(frozen=True, slots=True)
class Listen:
    channel: str


@dataclass(frozen=True, slots=True)
class Unlisten:
    """``channel`` None is all."""

    channel: str | None


@dataclass(frozen=True, slots=True)
class Notify:
    channel: str
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Done by doing nothing: LOCK, ANALYZE …; a ``notice`` says so where it matters. ``block``: whether it must be in a
    transaction block, or must not; None does not matter."""

    tag: str
    notice: str = ""
    block: bool | None = None


Command = (
    Begin
    | Commit
    | Rollback
    | SetSavepoint
    | ReleaseSavepoint
    | RollbackTo
    | Set
    | Reset
    | Show
    | ShowTokens
    | SetRole
    | SetSessionAuthorization
    | Discard
    | PrepareStatement
    | ExecuteStatement
    | Deallocate
    | Declare
    | Fetch
    | CloseCursor
    | Checkpoint
    | Vacuum
    | RefreshContinuous
    | Listen
    | Unlisten
    | Notify
    | Accepted
)
