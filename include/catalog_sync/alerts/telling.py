"""Telling people: which alerts are due, what the message says, and which channels it goes through.

An alert is told when it begins, when it is over, and in between only every ``alerts.remind_after``. What is silent is
told once the silence ends, if it still holds. A channel that does not take the message gets it again the next time,
every hour; the others do not. Without a channel for its severity an alert is told in the log alone.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from catalog_sync import notify
from catalog_sync.alerts.book import Alert, AlertBook, Change, Finding, is_silent
from catalog_sync.alerts.kinds import Severity, runbook
from catalog_sync.clock import utc
from catalog_sync.markdown import cell
from catalog_sync.notify import Message

if TYPE_CHECKING:
    from catalog_sync.run import Run
    from catalog_sync.settings import Settings

log = logging.getLogger(__name__)

#: So many characters of what is wrong go into a message.
LONGEST = 2000
_HOW_BAD = {
    Severity.CRITICAL: "critical: until somebody acts, Amazon's catalog does not follow yours",
    Severity.WARNING: "warning: look today; the job goes on meanwhile",
}
_SEVERITY = {Severity.CRITICAL: notify.Severity.ERROR, Severity.WARNING: notify.Severity.WARNING}
_SUBJECT = {Change.BEGAN: "", Change.STILL: "still: ", Change.OVER: "over: "}


def tell(run: Run) -> dict[str, int]:
    """Tell people what is due now; return how many messages said that an alert began, still holds, or is over."""
    book, told = AlertBook.of(run), dict.fromkeys((change.value for change in Change), 0)
    for alert, change in due(run, book):
        if book.claim(alert, change):
            told[change.value] += _told(run, book, alert, change)
    return told


def due(run: Run, book: AlertBook) -> list[tuple[Alert, Change]]:
    """Return what has to be told now, in the order in which it began."""
    now, silences, settings = run.clock.time(), book.silences(), run.settings
    found = []
    for alert in reversed(book.all()):
        silent = settings.alerts.silent(alert.severity, utc(now), settings.schedule.timezone)
        change = change_of(alert, now, settings.alerts.remind_after)
        if change and not silent and not is_silent(alert, silences):
            found.append((alert, change))
    return found


def change_of(alert: Alert, now: float, remind_after: timedelta) -> Change | None:
    """Return what there is to tell of the alert, or ``None``; nobody is told the end of what they never heard of."""
    if alert.recovered_at is not None:
        return Change.OVER if alert.told_at is not None and alert.told_end_at is None else None
    if alert.told_at is None:
        return Change.BEGAN
    return Change.STILL if now - alert.told_at >= remind_after.total_seconds() else None


def tell_without_ledger(config: Settings, finding: Finding, now: float) -> list[str]:
    """Tell of something when the ledger cannot be reached, so without memory of what was told before.

    :returns: the channels that took the message.
    """
    alert = Alert(finding.kind, finding.subject, finding.what, "", finding.since or now, now, now)
    message = message_of(config, alert, Change.BEGAN, now)
    log.error("%s: %s; see %s", message.title, alert.what, runbook(alert.kind))
    return notify.send(config.notify, config.alerts.routes.get(alert.severity, ()), message)


def message_of(config: Settings, alert: Alert, change: Change, now: float) -> Message:
    """Return what people are told: what, since when, how bad, and where it says what to do."""
    until = alert.recovered_at if alert.recovered_at is not None else now
    length = _length(until - alert.since)
    when = f"{utc(alert.since):%Y-%m-%d %H:%M} UTC"
    over = change is Change.OVER
    lines = [
        f"**{alert.title}**{' is over' if over else ''}",
        f"- What: {cell(alert.what, LONGEST)}",
        f"- Since: {when}, {'for' if over else 'by now'} {length}",
        *([] if over else [f"- How bad: {_HOW_BAD[alert.severity]}"]),
        f"- Alert: `{alert.name.replace('`', ' ')}` of {config.retailer}",
        f"- {'What it meant' if over else 'What to do'}: {runbook(alert.kind, config.alerts.runbooks)}",
    ]
    about = {
        "alert": alert.kind.value,
        "change": change.value,
        "about": alert.subject,
        "retailer": config.retailer,
    }
    subject = f"{config.retailer}: {_SUBJECT[change]}{alert.title}{f' ({alert.subject})' if alert.subject else ''}"
    severity = notify.Severity.INFO if over else _SEVERITY[alert.severity]
    return Message(severity, subject, "\n".join([lines[0], "", *lines[1:]]), about=about)


def _told(run: Run, book: AlertBook, alert: Alert, change: Change) -> bool:
    route = run.settings.alerts.routes.get(alert.severity, ())
    message = message_of(run.settings, alert, change, run.clock.time())
    level = logging.INFO if change is Change.OVER else logging.ERROR
    log.log(level, "%s: %s; see %s", message.title, alert.what, runbook(alert.kind))
    taken = {*alert.told_to, *notify.send(run.settings.notify, [c for c in route if c not in alert.told_to], message)}
    everywhere = taken >= set(route)
    book.told(alert, change, taken, everywhere)
    return everywhere


def _length(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    days, hours = divmod(minutes // 60, 24)
    parts = ((days, "d"), (hours, "h"), (minutes % 60 if not days else 0, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 min"
