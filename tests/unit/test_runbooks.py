"""Runbooks: every alarm leads to one, every reason stands in it, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalog_sync.notices import Why

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/runbooks").glob("*.md"))
TOLD = re.compile(r"docs/runbooks/([a-z-]+\.md)")


def test_every_runbook_that_is_named_exists() -> None:
    """No message, alarm or manual leads to a page that is not there, and no page is unknown to all of them."""
    files = [*(ROOT / "include").rglob("*.py"), *(ROOT / "dags").glob("*.py"), *(ROOT / "include").rglob("*.yaml")]
    named = {name for file in files for name in TOLD.findall(file.read_text(encoding="utf-8"))}
    assert named == {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_runbook_says_what_it_must(page: Path) -> None:
    """What it means, where to look first, what not to do, when to escalate."""
    titles = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"What it means", "First look", "What not to do", "When to escalate"} <= set(titles)


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    """The table has a line for each code, and no line for a code that does not exist."""
    text = (ROOT / "docs/runbooks/dead-letters.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE) == [why.value for why in Why]


def test_the_tries_that_are_told_are_those_of_the_code() -> None:
    """The numbers in the page are those of the code and of the template."""
    from catalog_sync.dead_letters import TRIES

    template = (ROOT / "include/cloudformation/catalog-sync.yaml").read_text(encoding="utf-8")
    [most] = re.findall(r"maxReceiveCount: (\d+)", template)

    text = (ROOT / "docs/runbooks/dead-letters.md").read_text(encoding="utf-8")
    assert f"After {TRIES} tries, or after {int(most) - 1}\n" in text
