"""A node is closed by the test that opened it."""

from __future__ import annotations

from tests.fixtures.leftovers import nothing_left

__all__ = ["nothing_left"]
