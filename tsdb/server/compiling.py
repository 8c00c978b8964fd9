"""Kernels are compiled by processes of their own, once on a machine; the server loads what they have left in the cache.

numba keeps what it learned of each kernel that it compiled and LLVM what it made of it: a server that compiles its own
has 770 MiB from its start to its end, one that loads them 430 (measured), and its clients wait for the interpreter
meanwhile. So that server and compiler together stay below what the server alone would have had, a process that has
grown by ``GROWN_BYTES`` ends between two steps, and another goes on where the cache ends. The last one finds all that
it needs, and says so.

A file beside the compiled kernels says that all are there. Where something of this fails the server compiles what it
lacks, when it is needed.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tsdb.server.warm import warm
from tsdb.sql.query import Queries

log = logging.getLogger("tsdb.server")

GROWN_BYTES = 320 << 20
PROCESSES_MAX = 12
# Exit codes.
ALL, MORE, ORPHAN = 0, 75, 76
_POLL_SECONDS = 0.1
_QUERY_BYTES = 64 << 20
_PR_SET_PDEATHSIG = 1


def marker() -> Path:
    """The file that says that this Python finds all kernels compiled."""
    return Path(os.environ["NUMBA_CACHE_DIR"]) / f"all-{sys.implementation.cache_tag}"


def compile_apart(scratch: Path, stopping: threading.Event) -> None:
    """Have the kernels compiled, if they are not. Blocks; ends soon when told to stop. ``scratch``: see ``warm``."""
    if marker().exists():
        return
    log.info("compiling the kernels in the background, once on this machine")
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    code = MORE
    for _ in range(PROCESSES_MAX):
        if code != MORE or stopping.is_set():
            break
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "tsdb.server.compiling", str(scratch), str(os.getpid())],
                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            log.warning("no process for the compiler of kernels: %s", error)
            return
        code = _wait(process, stopping)
    if code != ALL and not stopping.is_set():
        log.warning("the compiler of kernels ended with %d: the server compiles those that are missing", code)


def _wait(process: subprocess.Popen[bytes], stopping: threading.Event) -> int:
    """Its exit code; when told to stop it is ended."""
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stopping.is_set():
                process.kill()


def compile_some(scratch: Path, is_enough: Callable[[], bool]) -> int:
    """Compile what is missing, until there is nothing more or ``is_enough``, which is asked between two steps."""
    queries = Queries(memory_limit_bytes=_QUERY_BYTES, threads=1)
    try:
        if warm(queries, scratch, is_enough) is None:
            return MORE
    finally:
        queries.close()
    marker().parent.mkdir(parents=True, exist_ok=True)
    marker().touch()
    return ALL


def _compiled() -> int:
    """How many compiled kernels there are."""
    return sum(1 for _ in marker().parent.rglob("*.nbc"))


def _resident_bytes() -> int:
    """0 where there is no /proc: then one process compiles all."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def main() -> None:
    """The process: ``python -m tsdb.server.compiling SCRATCH SERVER``, the process id of the server that wants it."""
    if sys.platform == "linux":
        # A server that was killed leaves nobody behind in its data directory.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        # It was killed while this process loaded its modules: nobody says so any more.
        os._exit(ORPHAN)
    begin, known = _resident_bytes(), _compiled()
    # To load what is there takes memory, too, and another process would take as much.
    code = compile_some(Path(sys.argv[1]), lambda: _resident_bytes() > begin + GROWN_BYTES and _compiled() > known)
    # Threads of the libraries may be at work; nobody needs an orderly end.
    os._exit(code)


if __name__ == "__main__":
    main()
