"""docs/operating.md holds the table of settings as it is. Rewrite it with: tsdb settings --markdown."""

from __future__ import annotations

import re
import tomllib

from tests.docs.blocks import blocks
from tests.fixtures.environment import ROOT
from tsdb.cli.settings import as_markdown
from tsdb.config import ENVIRONMENT_ONLY, NAMES, load

DOCUMENT = ROOT / "docs" / "operating.md"


def test_the_table_of_settings_is_the_one_in_the_code() -> None:
    found = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    assert found[1] == as_markdown()


def test_variables_outside_the_table_are_described() -> None:
    text = DOCUMENT.read_text()
    assert [variable for variable in ENVIRONMENT_ONLY if f"`{variable}" not in text] == []


def test_the_example_file_is_accepted() -> None:
    examples = [block for block in blocks(DOCUMENT) if block.language == "toml"]
    assert examples
    for block in examples:
        values = tomllib.loads(block.text)
        assert values.keys() <= NAMES
        load(values)
