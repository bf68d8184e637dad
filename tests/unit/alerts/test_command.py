"""``python -m catalog_sync alerts``: what it shows, and silence by hand."""

from __future__ import annotations

import argparse
import io
from typing import Any

import pytest
from rich.console import Console

from catalog_sync.alerts import command
from catalog_sync.alerts.book import AlertBook, Finding
from catalog_sync.alerts.kinds import Kind
from catalog_sync.cli import parser
from catalog_sync.errors import BadInput
from catalog_sync.ledger import LedgerTable
from catalog_sync.settings import load


@pytest.fixture
def book(dynamodb: Any, clock: Any) -> AlertBook:
    """A book with one alert of each severity, and one that is over."""
    made = AlertBook(LedgerTable(dynamodb, "Ledger", clock.sleep), "acme", clock)
    made.raise_(Finding(Kind.DEAD_LETTERS, "3 messages lie there"), "r1")
    made.over(Kind.DEAD_LETTERS)
    clock.sleep(60)
    made.raise_(Finding(Kind.SOURCE_STALE, "source erp [is] old", "erp", clock.time() - 3600), "r1")
    made.raise_(Finding(Kind.FORBIDDEN, "Amazon refuses us"), "r1")
    return made


def asked(book: AlertBook, clock: Any, *words: str) -> dict[str, Any]:
    """What the command says to these words."""
    args: argparse.Namespace = parser().parse_args(["alerts", *words])
    return command.run(args, book, load(), clock, "ana")


def shown(made: dict[str, Any]) -> str:
    """It as a person reads it."""
    out = Console(file=io.StringIO(), width=200)
    command.render(made, out)
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_what_is_open_is_shown_critical_first(book: AlertBook, clock: Any) -> None:
    """With its runbook; what is over only when asked for. Text of others is no markup."""
    made = asked(book, clock)
    assert [one["name"] for one in made["open"]] == ["FORBIDDEN", "SOURCE_STALE#erp"]
    assert (made["recent"], made["open"][0]["runbook"]) == ([], "docs/runbooks/forbidden.md")
    text = shown(made)
    assert "source erp [is] old" in text
    assert "2026-09-21 13:14 UTC" in text  # since an hour before it was seen
    assert [one["name"] for one in asked(book, clock, "--recent")["recent"]] == ["DEAD_LETTERS"]
    clock.sleep(8 * 86400)
    assert asked(book, clock, "--recent")["recent"] == []


def test_an_alert_is_silenced_for_a_while(book: AlertBook, clock: Any) -> None:
    """It still stands in the list, marked, until the time is over or somebody wakes it."""
    made = asked(book, clock, "--silence", "SOURCE_STALE#erp", "--for", "2h", "--reason", "known")
    assert made["told"] == "SOURCE_STALE#erp is silent until 2026-09-21 16:14 UTC"
    assert {one["name"]: one["silent"] for one in made["open"]} == {"FORBIDDEN": False, "SOURCE_STALE#erp": True}
    assert "silent: SOURCE_STALE#erp until 2026-09-21 16:14 UTC, by ana: known" in shown(made)
    assert asked(book, clock, "--wake", "FORBIDDEN")["told"] == "FORBIDDEN was not silent"
    assert asked(book, clock, "--wake", "SOURCE_STALE#erp")["told"] == "SOURCE_STALE#erp is silent no more"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--silence", "STALE"), r"alert = 'STALE': none of NO_RUN"),
        (("--silence", "*", "--for", "soon"), r"--for 'soon': a duration is a number with a unit"),
        (("--silence", "*", "--for", "366d"), r"--for '366d': .* at most 365d"),
        (("--silence", "*", "--for", "9999999d"), r"--for '9999999d': .* at most 365d"),
        (("--silence", "*", "--for", "99999999999d"), r"--for '99999999999d': .* more than"),
        (("--wake", "STALE"), r"alert = 'STALE': none of NO_RUN"),
    ],
)
def test_a_mistake_is_named(book: AlertBook, clock: Any, words: tuple[str, ...], message: str) -> None:
    """Nothing is silenced by a misspelling."""
    with pytest.raises(BadInput, match=message):
        asked(book, clock, *words)
    assert book.silences() == []


def test_nothing_wrong_is_said(dynamodb: Any, clock: Any) -> None:
    """An empty list would leave one wondering."""
    empty = AlertBook(LedgerTable(dynamodb, "Ledger", clock.sleep), "acme", clock)
    assert shown(asked(empty, clock)).strip() == "no alert is open"
