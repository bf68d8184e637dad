"""The list of every store that an archive request must carry, and what Amazon said of it.

The list is a deliberate confirmation (``archive_catalog_api``): when a store is missing Amazon lists all of them, and
that text is shown to people and never used. No archive is asked for with a list that Amazon has refused, until the
configured stores change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.ledger import LedgerTable

if TYPE_CHECKING:
    from catalog_sync.api.outcomes import Answer
    from catalog_sync.run import Run

#: Stores that a message names.
_NAMED = 20


@dataclass(frozen=True)
class StoreList:
    """What is known of the retailer's store lists. In the ledger: ``ARCHIVE#<retailer>`` / ``STORES``."""

    ledger: LedgerTable
    retailer: str

    @classmethod
    def of(cls, run: Run) -> StoreList:
        """Return that of the run's retailer."""
        return cls(run.ledger, run.settings.retailer)

    def refused(self, stores: Sequence[str]) -> str | None:
        """Return what was wrong with exactly this list, or ``None`` when Amazon has not refused it."""
        item = self.ledger.get(f"ARCHIVE#{self.retailer}", "STORES")
        return str(item["message"]) if item and item["list"] == _digest(stores) else None

    def any_refused(self) -> bool:
        """Tell whether Amazon has refused any list."""
        return self.ledger.get(f"ARCHIVE#{self.retailer}", "STORES") is not None

    def require(self, stores: Sequence[str]) -> None:
        """Raise when Amazon has refused this list.

        :raises Misconfigured: it has.
        """
        if why := self.refused(stores):
            raise Misconfigured(why)

    def refuse(self, stores: Sequence[str], answer: Answer, run_id: str, now: float) -> Misconfigured:
        """Keep that Amazon has refused the list, and return the error that says so."""
        lacking = sorted(set(answer.named) - set(stores))
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        named = f"Amazon also names {', '.join(lacking[:_NAMED])}{more}. " if lacking else ""
        message = (
            f"nothing is archived: Amazon refuses the list of the {len(stores)} configured stores as that of every "
            f"store of the retailer. {named}Mend the configured stores; archives wait until they change. Amazon says: "
            f"{shorten(answer.message, 200)}"
        )
        changes = {"list": _digest(stores), "message": message, "run_id": run_id, "at": now}
        self.ledger.update(f"ARCHIVE#{self.retailer}", "STORES", changes)
        return Misconfigured(message)


def _digest(stores: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(stores)).encode()).hexdigest()
