"""Runbooks: every alert and every code leads to one, each says what it must, and its commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from tests.runbook_commands import DEPLOY, DOCS, INDEX, OURS, PAGES, aws_calls, commands, wrong_with

from catalog_sync import errors, outcomes, reports
from catalog_sync.account import Incomplete
from catalog_sync.alerts.kinds import ABOUT, Kind
from catalog_sync.api.outcomes import Verdict
from catalog_sync.attempts import State
from catalog_sync.cli import parser
from catalog_sync.contract.codes import Code
from catalog_sync.guards import Guard
from catalog_sync.notices import Why
from catalog_sync.upload import UploadFailed

ROOT = DOCS.parent
TOLD = re.compile(r"docs/runbooks/([a-z-]+\.md)")
#: States in which nothing is wrong, and the verdict when all is well.
WELL = {"SENDING", "ACCEPTED", "INQUEUE", "INPROGRESS", "DONE", "SETTLED", "REFUSED"}


def test_every_runbook_that_is_named_exists() -> None:
    """No message, alert or manual leads to a page that is not there, and the index leads to all of them."""
    files = [*(ROOT / "include").rglob("*.py"), *(ROOT / "dags").glob("*.py"), *(ROOT / "include").rglob("*.yaml")]
    named = {name for file in files for name in TOLD.findall(file.read_text(encoding="utf-8"))}
    pages = {page.name for page in PAGES}
    assert named | {about.runbook for about in ABOUT.values()} <= pages
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", INDEX.read_text(encoding="utf-8")))
    assert linked == pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_runbook_says_what_it_must(page: Path) -> None:
    """What it means, where to look first, what not to do, when to escalate."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {"What it means", "First look", "What not to do", "When to escalate"} <= set(titles)
    assert len(text.splitlines()) < 80  # short enough to be read at night


@pytest.mark.parametrize("kind", Kind)
def test_every_alert_has_a_runbook_that_names_it(kind: Kind) -> None:
    """The page says which alert it is for and how bad that is, as the catalogue does."""
    text = (DOCS / "runbooks" / ABOUT[kind].runbook).read_text(encoding="utf-8")
    assert f"\nAlert `{kind.value}`, {ABOUT[kind].severity.value}.\n" in text


def test_the_list_of_alerts_is_that_of_the_code() -> None:
    """``docs/alerts.md`` has a line for each kind, with its severity."""
    text = (DOCS / "alerts.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([A-Z_]+)` \| (critical|warning) \|", text, re.MULTILINE)
    assert found == [(kind.value, about.severity.value) for kind, about in ABOUT.items()]


def _values(*kinds: type[StrEnum]) -> Iterator[str]:
    yield from (one.value for kind in kinds for one in kind)


def _codes() -> set[str]:
    """Every code that a person may meet in books, logs and errors."""
    ends = {code for _, code in outcomes._WHOLE.values()} | {"NO_REPORT"}
    untold = {reports.NOT_LISTED, reports.CONTRADICTED, reports.NO_STATUS}
    raised = {name for name, one in vars(errors).items() if isinstance(one, type)} - {"CatalogSyncError"}
    return {*_values(Guard, Verdict, State), *ends, *untold, *raised, Incomplete.__name__, UploadFailed.__name__} - WELL


def test_every_code_leads_to_a_runbook_that_explains_it() -> None:
    """The index has each verdict, end, guard and error, and the page that it leads to speaks of it."""
    index = INDEX.read_text(encoding="utf-8")
    lead = {
        code: name
        for codes, name in re.findall(r"^\| (.+?) \| .* \| \[.*\]\(([a-z-]+\.md)\) \|$", index, re.MULTILINE)
        for code in re.findall(r"`([A-Za-z_]+)`", codes)
    }
    assert sorted(_codes() - set(lead)) == []
    unexplained = [
        code for code, name in lead.items() if f"`{code}`" not in (DOCS / "runbooks" / name).read_text(encoding="utf-8")
    ]
    assert unexplained == []


def test_every_rule_of_the_contract_has_somebody_who_mends_it() -> None:
    """The page on rejected rows names each code of the contract."""
    text = (DOCS / "runbooks/rows-rejected.md").read_text(encoding="utf-8")
    assert [code.value for code in Code if f"`{code.value}`" not in text] == []


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    """The table has a line for each code, and no line for a code that does not exist."""
    text = (DOCS / "runbooks/dead-letters.md").read_text(encoding="utf-8")
    table = text[text.index("| reason |") : text.index("The body itself")]
    assert re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE) == [why.value for why in Why]


def test_the_tries_that_are_told_are_those_of_the_code() -> None:
    """The numbers in the page are those of the code and of the template."""
    from catalog_sync.dead_letters import TRIES

    template = (ROOT / "include/cloudformation/catalog-sync.yaml").read_text(encoding="utf-8")
    [most] = re.findall(r"maxReceiveCount: (\d+)", template)

    text = (ROOT / "docs/runbooks/dead-letters.md").read_text(encoding="utf-8")
    assert f"After {TRIES} tries, or after {int(most) - 1}\n" in text


@pytest.mark.parametrize("page", [*PAGES, INDEX, DOCS / "alerts.md"], ids=lambda page: page.name)
def test_every_command_is_one(page: Path) -> None:
    """Ours parse, and those of AWS have the options that botocore's model of the service knows.

    That ours also run is in ``tests/integration/test_runbook_commands.py``.
    """
    found = commands(page)
    assert found
    for command in found:
        if command.startswith(OURS):
            words = shlex.split(command.removeprefix(OURS).partition(" | ")[0])
            assert parser().parse_args(words).command
        elif command.startswith("aws "):
            assert [wrong for words in aws_calls(command) if (wrong := wrong_with(words))] == []
        else:
            assert command.startswith(DEPLOY), command


def test_a_wrong_call_of_aws_is_found() -> None:
    """Neither an operation nor an option that does not exist, nor one without what it needs, passes."""
    assert wrong_with(["aws", "sqs", "purge-everything"]) == "sqs has no operation purge-everything"
    assert "missing ['QueueUrl']" in wrong_with(["aws", "sqs", "receive-message"])
    assert "unknown ['quue-url']" in wrong_with(
        ["aws", "sqs", "receive-message", "--queue-url", "x", "--quue-url", "x"]
    )
    nested = 'aws sqs receive-message --queue-url "$(aws sqs get-queue-url --queue-name q)"'
    assert [words[2] for words in aws_calls(nested)] == ["get-queue-url", "receive-message"]
