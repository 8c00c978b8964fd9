"""How native kernels are compiled: numba, without the GIL, cached on disk.

numba's cache knows neither a changed callee in another file nor NUMBA_BOUNDSCHECK (stale and unchecked code ran when
tried), so the cache directory is named by a hash of all of the package's sources that define kernels, of numba's
version and of whether bounds are checked. It must be set before numba is imported: nothing else in the package
imports numba.

``TSDB_BOUNDSCHECK=1`` compiles every kernel with bounds checks, in a cache of its own. ``TSDB_KERNEL_CACHE`` names
the parent directory; by default it is the user's cache directory.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

BOUNDSCHECK = os.environ.get("TSDB_BOUNDSCHECK") == "1"


def _sources_hash() -> str:
    digest = hashlib.sha256(importlib.metadata.version("numba").encode())
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"@kernel" in source:
            digest.update(str(path.relative_to(package)).encode() + b"\0" + source)
    return digest.hexdigest()[:16]


def _cache_directory() -> Path:
    parent = os.environ.get("TSDB_KERNEL_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "tsdb", "kernels"
    )
    return Path(parent) / (_sources_hash() + ("-checked" if BOUNDSCHECK else ""))


os.environ["NUMBA_CACHE_DIR"] = str(_cache_directory())

import numba  # noqa: E402  (the cache directory must be set first)


def kernel(function: F) -> F:
    """Compile ``function`` when it is first called; it runs without the GIL and is cached on disk."""
    compile_ = numba.njit(nogil=True, cache=True, boundscheck=BOUNDSCHECK, error_model="numpy")
    return cast(F, compile_(function))
