"""Garbage: the cyclic collector waits while very many objects are made that live on.

Starting, and flushing or replaying tens of thousands of series, makes containers by the hundred thousand and no cycle;
the collector, which looks again and again at all there are, takes half of that time (measured with 20,000 series).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_blocks = 0
_enabled_before = False


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection of cycles in this process until the block is left; blocks of several threads may overlap."""
    global _blocks, _enabled_before
    with _lock:
        if _blocks == 0:
            _enabled_before = gc.isenabled()
            gc.disable()
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0 and _enabled_before:
                gc.enable()
