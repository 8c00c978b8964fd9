"""The list of settings, by lower-case name: PostgreSQL's with our changes, and our own."""

from __future__ import annotations

import re
from importlib import resources

from tsdb.errors import InvalidName, UndefinedObject
from tsdb.sql.settings.own import CHECKS, REPORTED, VALUES, acks, batch_number, read_token
from tsdb.sql.settings.setting import Setting

_CUSTOM = re.compile(r"[A-Za-z_\x80-\U0010ffff][\w$]*(\.[A-Za-z_\x80-\U0010ffff][\w$]*)+")

# What SHOW knows and SHOW ALL does not (guc.c, GUC_NO_SHOW_ALL), and what is ours.
_MORE = (
    Setting("is_superuser", "on", "bool", context="internal", reported=True, listed=False, resets=False),
    Setting("role", "none", context="internal", listed=False, resets=False),
    Setting("session_authorization", "", context="internal", reported=True, listed=False, resets=False),
    Setting(
        "tsdb.prune", "on", "bool", category="tsdb",
        description="Off: queries read all that is in range, for comparing.",
    ),
    Setting(
        "tsdb.read_level", "linearizable", "enum", words=("linearizable", "session", "bounded", "any"), category="tsdb",
        description="Which replicas of a replicated database may answer queries.",
    ),
    Setting(
        "tsdb.read_staleness", "10s", "integer", "ms", "0", "2147483647", category="tsdb",
        description="How old the answer of a replica may be at tsdb.read_level = bounded.",
    ),
    Setting(
        "tsdb.read_token", "", category="tsdb",
        description="What the session has written and seen of replicated databases; SET adds what another one has.",
        check=read_token,
    ),
    Setting(
        "tsdb.acks", "default", category="tsdb", check=acks,
        description="On how many replicas a write is to be: a number, quorum, all; default: as its table says.",
    ),
    Setting(
        "tsdb.write_token", "", context="internal", category="tsdb",
        description="The token of what the session has written last: confirm_write() says what became of it.",
    ),
    Setting(
        "tsdb.producer", "", category="tsdb",
        description="Who numbers transactions by tsdb.batch: a name of at most 64 bytes.",
    ),
    Setting(
        "tsdb.batch", "0", "integer", low="0", high=str(2**63 - 1), category="tsdb",
        description="The number of the next transaction that changes data; then it is 0 again.", check=batch_number,
    ),
)  # fmt: skip


def _read() -> dict[str, Setting]:
    text = resources.files(__package__).joinpath("postgres15.tsv").read_text("utf-8")
    found: dict[str, Setting] = {}
    for line in text.splitlines()[1:]:
        name, kind, unit, low, high, words, context, category, boot, short, extra, flags = line.split("\t")
        made = Setting(
            name, VALUES.get(name, boot), kind, unit, low, high, tuple(words.split(",")) if words else (), context,
            category, short, extra, name in REPORTED, "NO_RESET_ALL" not in flags, "NO_SHOW_ALL" not in flags,
            CHECKS.get(name),
        )  # fmt: skip
        if unit and kind in ("integer", "real"):
            made = _with_default(made, made.shown(float(made.default)))
        found[name.lower()] = made
    found.update((each.name, each) for each in _MORE)
    return dict(sorted(found.items()))


def _with_default(setting: Setting, default: str) -> Setting:
    values = {name: getattr(setting, name) for name in Setting.__dataclass_fields__}
    return Setting(**{**values, "default": default})


SETTINGS: dict[str, Setting] = _read()


def is_custom(name: str) -> bool:
    """Whether a name that is no setting may be a client's own: two words with a dot."""
    return "." in name and name.lower() not in SETTINGS and not name.lower().startswith("tsdb.")


def find(name: str) -> Setting:
    """The setting of that name, whatever its case; a client's own has no type. Raises UndefinedObject, InvalidName."""
    setting = SETTINGS.get(name.lower())
    if setting is not None:
        return setting
    if not is_custom(name):
        raise UndefinedObject(f'unrecognized configuration parameter "{name}"')
    if _CUSTOM.fullmatch(name) is None:
        raise InvalidName(
            f'invalid configuration parameter name "{name}"',
            detail="Custom parameter names must be two or more simple identifiers separated by dots.",
        )
    return Setting(name, "", listed=False)


def checked(name: str, value: str, *, at_start: bool = False) -> tuple[Setting, str]:
    """A setting and its value as SHOW prints it. Raises UndefinedObject, InvalidParameterValue, 0A000, 55P02."""
    setting = find(name)
    setting.refuse_change(at_start=at_start)
    return setting, setting.checked(value)
