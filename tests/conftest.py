"""What all tests share: fixtures come from plugins, one concern each."""

from __future__ import annotations

pytest_plugins = ["tests.fixtures.server"]
