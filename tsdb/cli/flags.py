"""The flags of ``tsdb start``, made from the table of settings so that none is missing and all read alike.

Values stay text here: ``tsdb.config`` checks what flags, environment and file say in one way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tsdb.config import TABLE, Entry

Command = Callable[[Path | None, dict[str, object]], None]


def settings_flags(register: Callable[[Callable[..., None]], Any]) -> Callable[[Command], Command]:
    """Register a command that takes ``--config`` and a flag for every setting.

    The decorated function gets the file and the flags that were given, by the settings' names.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_flags(config: Path | None = None, **given: object) -> None:
            command(config, {name: value for name, value in given.items() if value is not None})

        parameters = [_parameter("config", Path | None, _config_option()), *(_setting(entry) for entry in TABLE)]
        with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_flags.__annotations__ = {p.name: p.annotation for p in parameters}
        register(with_flags)
        return command

    return decorate


def _config_option() -> Any:
    return typer.Option("--config", help="Settings file (TOML). Also TSDB_CONFIG.", metavar="FILE", show_default=False)


def _parameter(name: str, type_: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[type_, option])


def _setting(entry: Entry) -> inspect.Parameter:
    meaning = escape(entry.meaning)
    help_ = f"{meaning[0].upper()}{meaning[1:]}."
    if entry.default is not None:
        help_ += f" \\[{entry.text(entry.default)}]"
    topic = entry.topic.capitalize()
    if isinstance(entry.default, bool):
        flag = f"{entry.flag}/--no-{entry.flag[2:]}"
        return _parameter(
            entry.name, bool | None, typer.Option(flag, help=help_, show_default=False, rich_help_panel=topic)
        )
    option = typer.Option(entry.flag, help=help_, metavar=_metavar(entry), show_default=False, rich_help_panel=topic)
    return _parameter(entry.name, str | None, option)


def _metavar(entry: Entry) -> str:
    if entry.unit:
        return {"bytes": "SIZE", "seconds": "TIME"}[entry.unit]
    if isinstance(entry.default, int):
        return "N"
    return _METAVARS.get(entry.name, "N" if entry.high is not None else "WORD")


_METAVARS = {
    "data": "DIR", "host": "ADDRESS", "http_socket": "PATH", "tls_cert": "FILE", "tls_key": "FILE",
    "line_database": "NAME", "line_role": "NAME", "cluster_listen": "HOST:PORT", "cluster_address": "HOST:PORT",
    "join": "HOST:PORT", "metadata": "WHERE", "metadata_password_file": "FILE", "metadata_ca": "FILE",
    "metadata_cert": "FILE", "metadata_key": "FILE",
    "cluster_ca": "FILE", "cluster_cert": "FILE", "cluster_key": "FILE",
}  # fmt: skip
