"""What all tests share: fixtures come from plugins, one concern each."""

from __future__ import annotations

from hypothesis import settings

# Kernels compile in the first example that needs them, and a busy machine is no failure.
settings.register_profile("tsdb", deadline=None)
settings.load_profile("tsdb")

pytest_plugins = ["tests.fixtures.server", "tests.fixtures.postgres"]
