"""How the alerts stand now, for whoever looks: the command line and the Catalog page show the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from catalog_sync.alerts.book import Alert, AlertBook, is_silent
from catalog_sync.alerts.kinds import ABOUT, Severity, runbook
from catalog_sync.settings import Settings

#: What is over is shown for so long.
RECENT = timedelta(days=7)


def standing(book: AlertBook, config: Settings, now: float) -> dict[str, Any]:
    """Return the alerts as JSON.

    :param now: Unix seconds.
    :returns: ``open`` (critical ones first), ``recent`` (over in the last ``RECENT``, the newest first), each with its
        ``runbook`` (where it lies), ``page`` (its file name) and whether it is ``silent``; and ``silences``.
    """
    silences, alerts = book.silences(), book.all()
    return {
        "open": [_shown(one, silences, config) for one in sorted(alerts, key=_urgency) if one.is_open],
        "recent": [_shown(one, silences, config) for one in alerts if _is_recent(one, now)],
        "silences": silences,
    }


def _urgency(alert: Alert) -> bool:
    return alert.severity is not Severity.CRITICAL


def _is_recent(alert: Alert, now: float) -> bool:
    return alert.recovered_at is not None and now - alert.recovered_at < RECENT.total_seconds()


def _shown(alert: Alert, silences: list[dict[str, Any]], config: Settings) -> dict[str, Any]:
    where = runbook(alert.kind, config.alerts.runbooks)
    return {
        **alert.as_dict(), "runbook": where, "page": ABOUT[alert.kind].runbook, "silent": is_silent(alert, silences)
    }  # fmt: skip
