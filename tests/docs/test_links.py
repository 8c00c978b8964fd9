"""Links between documents lead somewhere, and no document names a machine."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import documents
from tests.fixtures.environment import ROOT

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_to_files(document) -> None:  # type: ignore[no-untyped-def]
    broken = [
        target
        for target in _LINK.findall(document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert broken == []


def test_the_words_have_each_one_meaning() -> None:
    words = re.findall(r"^\| ([a-z][^|]*?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    words = [word for word in words if word != "word"]
    assert len(words) == len(set(words)) > 60
