"""``tsdb start``: one server in the foreground, from its settings to its exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from tsdb.config import Settings

if TYPE_CHECKING:
    from tsdb.server import Server

log = logging.getLogger("tsdb")

EXIT_STOPPED_AT_ONCE = 1
# RocksDB, HTTP connections and what else is open.
OTHER_FILES = 4096


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then end the process. Raises ConfigurationError and StartupError."""
    place_kernel_cache(settings.data)
    from tsdb.server import Server, logs

    logs.configure(settings.log_level, settings.log_format)
    raise_file_limit(settings)
    server = Server(settings)
    uvloop.run(_serve(server))
    # Everything is closed; only the compiling of kernels may still run in its thread, and nobody waits for that.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def raise_file_limit(settings: Settings) -> None:
    """Let the process open as many files as its clients and RocksDB may need; the usual soft limit is 1,024."""
    wanted = 2 * settings.connections_max + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed < wanted:
        log.warning(
            "the process may open %d files and connections_max may need %d: raise its limit (ulimit -n)",
            allowed,
            wanted,
        )


async def _serve(server: Server) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if asked_to_stop.is_set():
            log.warning("%s again: stopping at once; the op log keeps what was acknowledged", number.name)
            logging.shutdown()
            os._exit(EXIT_STOPPED_AT_ONCE)
        log.info("%s: stopping", number.name)
        asked_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    # What is loaded now stays: the cyclic collector need not walk over it, not even once.
    gc.disable()
    await server.start()
    gc.freeze()
    gc.enable()
    loop.add_signal_handler(signal.SIGHUP, server.reload_certificate)
    print(f"tsdb ready: {server.pg_url} {server.http_url}", flush=True)
    try:
        await asked_to_stop.wait()
    finally:
        await server.stop()


def place_kernel_cache(data: Path) -> None:
    """Where the user has no cache directory to write to, compiled kernels lie in the data directory.

    Must run before ``tsdb.kernels`` is imported.
    """
    if os.environ.get("TSDB_KERNEL_CACHE"):
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    try:
        os.makedirs(os.path.join(home, "tsdb", "kernels"), exist_ok=True)
        usable = os.access(os.path.join(home, "tsdb", "kernels"), os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        os.environ["TSDB_KERNEL_CACHE"] = str(data / "kernels")
