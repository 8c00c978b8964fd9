"""An import: all pieces of all files, numbered, with a journal of what is done, progress, and what went wrong where."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tsdb.cli.transfer.files import STDIN, Source
from tsdb.cli.transfer.pieces import Piece, one_ahead, pieces, place
from tsdb.cli.transfer.send import TIME, LineSender, Refused, RowSender, Sent
from tsdb.errors import ConfigurationError

# Errors that are shown of each file; all are counted.
SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an import is told. ``table`` "": each file's name without its suffixes. ``time`` "": "time", if it is there.

    ``journal`` is the directory of journals; ``producer`` names what comes from standard input, to go on with it.
    """

    http: str
    sql: str
    database: str
    table: str
    time: str
    tags: tuple[str, ...]
    precision: str
    user: str | None
    producer: str
    journal: Path


@dataclass(slots=True)
class Report:
    """One file's outcome."""

    source: Source
    rows: int = 0
    refused: int = 0
    shown: list[str] = field(default_factory=list)
    failed: str = ""

    @property
    def is_good(self) -> bool:
        return not self.refused and not self.failed

    def remark(self, said: str) -> None:
        """What is no error."""
        if said:
            self.shown.append(f"{self.source.path}: {said}")

    def note(self, piece: Piece, sent: Sent) -> None:
        self.rows += sent.rows
        self.refused += sent.refused_count
        for number, why in sent.refused[: SHOWN_MAX - len(self.shown)]:
            self.shown.append(f"{self.source.path}:{piece.first + number - 1}: {why}")


class Job:
    """Some files, each with a journal of its own."""

    def __init__(self, files: list[Source], wanted: Wanted) -> None:
        if any(source.path == STDIN for source in files) and len(files) > 1:
            raise ConfigurationError("standard input goes alone: its end cannot be told from a pause")
        self._files = files
        self._wanted = wanted

    def run(self, console: Console) -> list[Report]:
        """Raises StartupError when the server stays away; the journals say then how far it was."""
        reports = []
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for source in self._files:
                task = progress.add_task(source.path, total=source.size or None)
                report = Report(source)
                try:
                    self._file(source, report, progress, task)
                except (OSError, pa.ArrowException, ConfigurationError, Refused) as error:
                    report.failed = " ".join(str(error).split())
                except KeyboardInterrupt:
                    goes_on = source.path != STDIN or bool(self._wanted.producer)
                    hint = "; started again it goes on there" if goes_on else ""
                    console.print(
                        f"{source.path}: interrupted after {counted(report.rows, 'row')}{hint}",
                        soft_wrap=True,
                        markup=False,
                    )
                    raise
                reports.append(report)
        return reports

    def _file(self, source: Source, report: Report, progress: Progress, task: TaskID) -> None:
        wanted = self._wanted
        time = wanted.time or TIME
        settings = (wanted.http, wanted.sql, wanted.database, wanted.table, wanted.precision, time)
        if source.path != STDIN:
            journal = Journal(wanted.journal, "\n".join((source.stamp, *settings)))
        else:
            # What comes without a name is something else each time: nothing of it is done.
            named = wanted.producer
            journal = Journal(wanted.journal if named else None, "\n".join((named, *settings)))
        batch = 0
        sender = self._sender(source)
        try:
            texts = sender.texts() if isinstance(sender, RowSender) else ()
            with (
                source.open() as raw,
                closing(one_ahead(pieces(source, raw, time, wanted.precision, texts))) as found,
            ):
                for piece in found:
                    batch += 1
                    if batch == 1 and isinstance(sender, RowSender) and piece.rows is not None:
                        report.remark(sender.check(piece.rows.schema.names))
                    if batch > journal.done:
                        try:
                            report.note(piece, _send(sender, piece, journal.producer, batch))
                        except Refused as error:
                            if error.row is None:
                                raise
                            where = place(source, piece.first + error.row - 1)
                            raise Refused(f"{where}: {error}") from None
                        journal.write(batch)
                    progress.update(task, completed=piece.read)
        finally:
            sender.close()
        journal.remove()

    def _sender(self, source: Source) -> LineSender | RowSender:
        wanted = self._wanted
        if source.format == "lp":
            return LineSender(wanted.http, wanted.database, wanted.precision, wanted.user)
        table = wanted.table or Path(source.path).name.partition(".")[0]
        if source.path == STDIN and not wanted.table:
            raise ConfigurationError("standard input has no name for the table: add --table")
        return RowSender(wanted.sql, table, wanted.time, wanted.tags)


def _send(sender: LineSender | RowSender, piece: Piece, producer: str, batch: int) -> Sent:
    if isinstance(sender, LineSender):
        return sender.send(piece.lines, producer, batch)
    assert piece.rows is not None
    return sender.send(piece.rows, producer, batch)


class Journal:
    """How many pieces of a file have been answered, and the name that they were numbered under: in a small file, from
    the first piece to the last. With it an import goes on where it was; without it the file is imported anew.

    ``directory`` None: nothing is kept."""

    def __init__(self, directory: Path | None, content: str) -> None:
        name = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
        self._path = None if directory is None else directory / name
        self._run = secrets.token_hex(16)
        self.done = 0
        if self._path is None:
            return
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self._path.read_text())
            self._run, self.done = str(found["run"]), int(found["done"])
        self.write(self.done)

    @property
    def producer(self) -> str:
        return f"import {self._run}"

    def write(self, done: int) -> None:
        self.done = done
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps({"run": self._run, "done": done}))
            os.replace(fresh, self._path)
        except OSError as error:
            raise ConfigurationError(f"cannot write the journal {self._path}: {error.strerror}") from None

    def remove(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def counted(count: int, what: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def summary(reports: Iterable[Report], seconds: float) -> str:
    """The last line: what came in, and how fast."""
    listed = list(reports)
    rows, refused = sum(each.rows for each in listed), sum(each.refused for each in listed)
    bad = f", {counted(refused, 'line')} refused" if refused else ""
    failed = sum(bool(each.failed) for each in listed)
    files = counted(len(listed), "file")
    files += f", {failed:,} of them failed" if failed else ""
    return f"{counted(rows, 'row')} from {files}{bad} in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f} rows/s)"
