"""The state of every alert, in the ledger: since when it holds, until when it did, and what people were told of it.

``ALERT#<retailer>`` / ``<code>`` or ``<code>#<subject>``, one item for each; it is open until it has ``recovered_at``.
``SILENCE#<retailer>`` / the same, or ``*``: silent until then, by hand. Each change is a conditional write: several
processes may see the same thing at once, and it begins once, ends once and is told once.

What comes back before its end was told has never ended: a message that says so would only be noise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from catalog_sync.alerts.kinds import ABOUT, Kind, Severity
from catalog_sync.clock import Clock
from catalog_sync.errors import BadInput, shorten
from catalog_sync.ledger import Item, LedgerTable

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: How long an alert that is over can still be looked at.
KEEP = timedelta(days=90)
#: Whoever tells of an alert has this many seconds until another process may.
_TELLING = 300.0
#: Stands for every kind when all is silenced.
ALL = "*"

_OPEN = "attribute_exists(#raised_at) AND attribute_not_exists(#recovered_at)"
# It has ended, and its end was told, or nobody had been told of it.
_ANEW = (
    "attribute_not_exists(#raised_at) OR "
    "(attribute_exists(#recovered_at) AND (attribute_exists(#told_end_at) OR attribute_not_exists(#told_at)))"
)


class Change(StrEnum):
    """What there is to tell of an alert."""

    BEGAN = "began"
    STILL = "still"
    OVER = "over"


@dataclass(frozen=True)
class Finding:
    """What was found to be wrong: ``what`` is a sentence with its numbers; ``since`` is Unix time where it is known."""

    kind: Kind
    what: str
    subject: str = ""
    since: float | None = None


@dataclass(frozen=True)
class Alert:
    """One alert as it stands. Times are Unix seconds, ``None`` for what has not happened."""

    kind: Kind
    subject: str
    what: str
    run_id: str
    since: float
    raised_at: float
    last_seen: float
    recovered_at: float | None = None
    told_at: float | None = None
    told_end_at: float | None = None
    #: The channels that have taken what is being told now; the others are tried again.
    told_to: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Item) -> Alert:
        """Return the alert of its ledger item."""

        def at(name: str) -> float | None:
            return float(item[name]) if name in item else None

        return cls(
            kind=Kind(item["kind"]),
            subject=str(item["subject"]),
            what=str(item["what"]),
            run_id=str(item.get("run_id", "")),
            since=float(item["since"]),
            raised_at=float(item["raised_at"]),
            last_seen=float(item["last_seen"]),
            recovered_at=at("recovered_at"),
            told_at=at("told_at"),
            told_end_at=at("told_end_at"),
            told_to=tuple(item.get("told_to", ())),
        )

    @property
    def name(self) -> str:
        """Its code, with the subject where it has one."""
        return name_of(self.kind, self.subject)

    @property
    def severity(self) -> Severity:
        """How soon a person should look."""
        return ABOUT[self.kind].severity

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return ABOUT[self.kind].title

    @property
    def is_open(self) -> bool:
        """Whether it still holds."""
        return self.recovered_at is None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, with severity, title and runbook."""
        about = {"severity": self.severity.value, "title": self.title, "runbook": ABOUT[self.kind].runbook}
        return {**asdict(self), **about, "name": self.name, "open": self.is_open, "told_to": list(self.told_to)}


def name_of(kind: Kind, subject: str = "") -> str:
    """Return the name of an alert: its code, with the subject where it has one."""
    return f"{kind.value}#{subject}" if subject else kind.value


class AlertBook:
    """The alerts of one retailer."""

    def __init__(self, ledger: LedgerTable, retailer: str, clock: Clock) -> None:
        self._ledger = ledger
        self._alerts = f"ALERT#{retailer}"
        self._silences = f"SILENCE#{retailer}"
        self._judged = f"JUDGED#{retailer}"
        self._clock = clock

    @classmethod
    def of(cls, run: Run) -> AlertBook:
        """Return the alerts of the run's retailer."""
        return cls(run.ledger, run.settings.retailer, run.clock)

    # --- what holds

    def judge(self, findings: Iterable[Finding], kinds: Collection[Kind], run_id: str = "") -> None:
        """Take note of all that was found; what is open of ``kinds`` and was not found is over."""
        found = list(findings)
        for finding in found:
            self.raise_(finding, run_id)
        names = {name_of(finding.kind, finding.subject) for finding in found}
        for alert in self.open():
            if alert.kind in kinds and alert.name not in names:
                self.over(alert.kind, alert.subject)

    def raise_(self, finding: Finding, run_id: str = "") -> None:
        """Take note that it holds: it begins, or is seen once more."""
        now = self._clock.time()
        seen: Item = {"what": finding.what, "last_seen": now, "run_id": run_id, "expires_at": None}
        begun: Item = {
            **seen, "kind": finding.kind.value, "subject": finding.subject, "raised_at": now,
            "since": finding.since or now, "recovered_at": None, "told_at": None, "told_end_at": None,
            "told_to": None, "telling_until": None,
        }  # fmt: skip
        key = (self._alerts, name_of(finding.kind, finding.subject))
        if not self._ledger.update(*key, begun, _ANEW):
            self._ledger.update(*key, {**seen, "recovered_at": None}, "attribute_exists(#raised_at)")

    def over(self, kind: Kind, subject: str = "") -> bool:
        """Take note that it holds no more; tell whether it did until now."""
        now = self._clock.time()
        changes = {"recovered_at": now, "expires_at": int(now + KEEP.total_seconds()), "told_to": None}
        return self._ledger.update(self._alerts, name_of(kind, subject), changes, _OPEN)

    def is_latest(self, what: str, started_at: float) -> bool:
        """Tell whether nothing younger has been judged of ``what``: an old run that is accounted again says nothing."""
        mine = {"started_at": started_at}
        return self._ledger.update(
            self._judged, what, mine, "attribute_not_exists(#started_at) OR #started_at <= :mine", {"mine": started_at}
        )

    def is_newer(self, what: str, started_at: float) -> bool:
        """Tell the same, and take no note of it."""
        return started_at >= float((self._ledger.get(self._judged, what) or {}).get("started_at", 0))

    def all(self) -> list[Alert]:
        """Return every alert that is open, or was in the last ``KEEP``, the newest first."""
        found = [Alert.of(item) for item in self._ledger.query(self._alerts) if "raised_at" in item]
        return sorted(found, key=lambda alert: (-alert.raised_at, alert.name))

    def open(self) -> list[Alert]:
        """Return the alerts that hold, critical ones first, then the newest."""
        found = [alert for alert in self.all() if alert.is_open]
        return sorted(found, key=lambda alert: alert.severity is not Severity.CRITICAL)

    # --- what was told

    def claim(self, alert: Alert, change: Change) -> bool:
        """Tell whether this process is the one that tells of it now."""
        now = self._clock.time()
        free = "(attribute_not_exists(#telling_until) OR #telling_until < :now) AND #raised_at = :raised"
        state = {
            Change.BEGAN: "attribute_not_exists(#recovered_at) AND attribute_not_exists(#told_at)",
            Change.STILL: "attribute_not_exists(#recovered_at) AND #told_at = :told",
            Change.OVER: "attribute_exists(#recovered_at) AND attribute_not_exists(#told_end_at)",
        }[change]
        values: Item = {"now": now, "raised": alert.raised_at}
        if change is Change.STILL:
            values["told"] = alert.told_at
        return self._ledger.update(
            self._alerts, alert.name, {"telling_until": now + _TELLING}, f"{free} AND {state}", values
        )

    def told(self, alert: Alert, change: Change, channels: Collection[str], everywhere: bool) -> None:
        """Record which channels have taken the message; unless that is ``everywhere``, it is to be told again."""
        changes: Item = {"telling_until": None, "told_to": None if everywhere else sorted(channels)}
        if everywhere:
            changes["told_end_at" if change is Change.OVER else "told_at"] = self._clock.time()
        mine = {"raised": alert.raised_at}
        self._ledger.update(self._alerts, alert.name, changes, "#raised_at = :raised", mine)

    # --- silence by hand

    def silence(self, name: str, until: float, by: str, reason: str) -> None:
        """Silence an alert (its code, ``code#subject``, or ``*`` for all) until then.

        :raises BadInput: there is no such kind.
        """
        _known(name)
        about = {"until": until, "by": by, "reason": shorten(reason, 200), "expires_at": int(until) + 1}
        self._ledger.update(self._silences, name, about)

    def wake(self, name: str) -> bool:
        """End a silence; tell whether there was one."""
        there = any(silence["name"] == name for silence in self.silences())
        self._ledger.delete(self._silences, _known(name))
        return there

    def silences(self) -> list[dict[str, Any]]:
        """Return what is silent by hand now: ``name``, ``until`` (Unix seconds), ``by`` and ``reason``."""
        now = self._clock.time()
        return [
            {
                "name": str(item["sk"]),
                "until": float(item["until"]),
                "by": item.get("by", ""),
                "reason": item.get("reason", ""),
            }
            for item in self._ledger.query(self._silences)
            if float(item["until"]) > now
        ]


def is_silent(alert: Alert, silences: Iterable[dict[str, Any]]) -> bool:
    """Tell whether a silence by hand covers the alert."""
    return any(one["name"] in (ALL, alert.kind.value, alert.name) for one in silences)


def _known(name: str) -> str:
    if name != ALL and name.partition("#")[0] not in set(Kind):
        raise BadInput(f"alert = {shorten(name)!r}: none of {', '.join(Kind)}, nor {ALL!r} for all")
    return name
