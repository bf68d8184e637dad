"""The probe: is everything there that a night needs, and may we use it? The smoke test after a deployment.

Each check says what it saw and, where that is not well, what to do. Checks change nothing: they write one object and
one item of their own, and the request to Amazon asks for an upload that never was. The *canary* (``canary``), off by
default, sends one item the whole way. Requests to Amazon take tickets like all others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from catalog_sync.errors import CatalogSyncError, shorten
from catalog_sync.markdown import table

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    #: A night can do its job, but worse, or without its safety net.
    WARN = "warn"
    #: A night would fail.
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """What one check found: its name, how it ended, what was seen, and what to do (empty when all is well)."""

    name: str
    status: Status
    seen: str
    advice: str = ""


#: What looks: it returns what it found, or raises what stands in the way, which counts as a failure.
Look = Callable[["Run"], Check]


def probe(run: Run, canary: bool | None = None) -> list[Check]:
    """Make every check and return what each found, in an order in which the first failure explains later ones.

    :param run: any run of the deployment; the canary makes runs of its own.
    :param canary: whether to send the canary; ``None``: when the configuration has one.
    """
    found = []
    for name, look in _looks(run, canary):
        check = _made(run, name, look)
        log.log(
            {Status.OK: logging.INFO, Status.WARN: logging.WARNING, Status.FAIL: logging.ERROR}[check.status],
            "%s: %s: %s%s", check.name, check.status, check.seen, f". {check.advice}" if check.advice else "",
        )  # fmt: skip
        found.append(check)
    return found


def worst(checks: list[Check]) -> Status:
    """Return how the worst of the checks ended."""
    ends = {check.status for check in checks}
    return next((status for status in (Status.FAIL, Status.WARN) if status in ends), Status.OK)


def summary(checks: list[Check]) -> str:
    """Return the checks in short, as Markdown: how many ended how, and those that are not well."""
    counts = {status: sum(check.status is status for check in checks) for status in Status}
    told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    bad = [check for check in checks if check.status is not Status.OK]
    return "\n\n".join(
        [f"**{worst(checks)}**: {told}", *(f"`{one.name}` **{one.status}**: {one.seen}. {one.advice}" for one in bad)]
    )


def as_markdown(checks: list[Check]) -> str:
    """Return all checks as a table."""
    return table(("check", "", "seen", "what to do"), (asdict(check).values() for check in checks), most=400)


def _looks(run: Run, canary: bool | None) -> Iterator[tuple[str, Look]]:
    from catalog_sync.probe import amazon, ours
    from catalog_sync.probe.canary import send_canary

    yield from amazon.LOOKS.items()
    yield from ours.LOOKS.items()
    configured = run.settings.probe.canary is not None
    if configured if canary is None else canary:
        yield "canary", send_canary


def _made(run: Run, name: str, look: Look) -> Check:
    try:
        return look(run)
    except CatalogSyncError as error:
        return Check(name, Status.FAIL, shorten(error, 400))
    except Exception as error:  # whatever AWS, the network or a library raises: the other checks still count
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        seen = f"{type(error).__name__}{f' ({code})' if code else ''}"
        return Check(name, Status.FAIL, seen, "Look at the connection, the permission and the network.")


def as_dict(checks: list[Check]) -> dict[str, Any]:
    """Return the checks for JSON."""
    return {"status": worst(checks).value, "checks": [asdict(check) for check in checks]}
