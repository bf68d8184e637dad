"""Alerts: what is wrong now and since when, and what was over in the last days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog_sync.alerts.book import AlertBook
from catalog_sync.alerts.standing import standing

if TYPE_CHECKING:
    from catalog_sync.run import Run


def alerts(run: Run) -> dict[str, Any]:
    """Return ``open``, ``recent`` and ``silences`` (see ``standing``), and ``now`` (Unix seconds)."""
    now = run.clock.time()
    return {"now": now, **standing(AlertBook.of(run), run.settings, now)}
