"""What all tests share: fixtures come from plugins, one concern each."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Most servers of tests live for a second and run a few statements: what these need is loaded when they do.
os.environ.setdefault("TSDB_WARM_START", "off")

# Kernels compile in the first example that needs them, and a busy machine is no failure.
settings.register_profile("tsdb", deadline=None)
# What CI draws is the same each time: a change is refused for what it does. What nobody has drawn before is found by
# who runs the tests meanwhile, and by night.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.load_profile("tsdb")

pytest_plugins = [
    "tests.fixtures.server",
    "tests.fixtures.postgres",
    "tests.fixtures.etcd",
    "tests.fixtures.second_try",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--raft-scripts", metavar="DIR", help="run the Raft scripts below DIR instead of the shared ones")
    parser.addoption("--rewrite-raft-scripts", action="store_true", help="let our Raft scripts expect what they give")
