"""The catalogue of alerts is whole."""

from __future__ import annotations

from catalog_sync.alerts.kinds import ABOUT, Kind, Severity, runbook


def test_every_kind_has_its_facts() -> None:
    """Each kind stands in the catalogue once, with a title of its own."""
    assert list(ABOUT) == list(Kind)
    titles = [about.title for about in ABOUT.values()]
    assert len(set(titles)) == len(titles)


def test_both_severities_are_used() -> None:
    """A severity that nothing has would be a route that nobody needs."""
    assert {about.severity for about in ABOUT.values()} == set(Severity)


def test_a_runbook_may_lie_elsewhere() -> None:
    """Messages lead to the page in the project, or to where a deployment publishes the pages."""
    assert runbook(Kind.DRIFT) == "docs/runbooks/drift.md"
    assert runbook(Kind.DRIFT, "https://wiki.example/jwo/") == "https://wiki.example/jwo/drift.md"
