"""One writer at a time: the retailer's lease, whose token is the plan number.

Whoever plans takes the lease and thereby the next plan number. The lease itself may expire or be taken over at any
time; what protects Amazon's catalog is the number: an attempt is only recorded (and so only sent) while the lease
still carries the attempt's own plan number. That is a fencing token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from catalog_sync.errors import RetryLater
from catalog_sync.ledger import LedgerTable

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Seconds of silence after which another run may take the lease over. Each request renews it, and so does planning as
#: it goes on; the longest silence of a live sender is its in-task wait (60 s) plus a task retry.
LEASE_SECONDS = 900.0


#: The lease is ours while nobody else took it since: ``since`` is the first number of the owner's unbroken sequence.
_OURS = "#token = :token OR (#owner = :owner AND #since <= :token)"


@dataclass(frozen=True)
class Holder:
    """Who holds the lease: ``token`` is the last plan number; ``held_until`` is 0 when it was given up.

    ``since`` is the first number that the owner took without another run taking one in between.
    """

    token: int = 0
    owner: str = ""
    held_until: float = 0.0
    since: int = 0


class Lease:
    """The lease of one retailer in the ledger."""

    def __init__(self, ledger: LedgerTable, retailer: str) -> None:
        self.ledger = ledger
        self.key = (f"LEASE#{retailer}", "LEASE")

    @classmethod
    def of(cls, run: Run) -> Lease:
        """Return the lease of the run's retailer."""
        return cls(run.ledger, run.settings.retailer)

    def read(self) -> Holder:
        """Return who holds the lease now."""
        item = self.ledger.get(*self.key)
        if item is None:
            return Holder()
        token = int(item["token"])
        held_until, since = float(item.get("held_until", 0)), int(item.get("since", token))
        return Holder(token, str(item["owner"]), held_until, since)

    def take(self, owner: str, now: float) -> int:
        """Take the lease for ``owner`` and return its token, one higher than the last.

        :raises RetryLater: another run holds it; ``after`` says how long to wait before asking again.
        """
        while True:
            last = self.read()
            if last.held_until > now and last.owner != owner:
                raise RetryLater(
                    f"run {last.owner} is sending (plan {last.token}); one run sends at a time",
                    after=min(last.held_until - now, 30.0),
                )
            since = last.since if last.owner == owner else last.token + 1
            changes = {"token": last.token + 1, "owner": owner, "since": since, "held_until": now + LEASE_SECONDS}
            condition = "#token = :last" if last.token else "attribute_not_exists(#pk)"
            values = {"last": last.token} if last.token else None
            if self.ledger.update(*self.key, changes, condition, values):
                return last.token + 1

    def renewal(self, token: int, owner: str, now: float) -> dict[str, Any]:
        """Return the transaction part that renews the lease, and that fails once another run has taken it.

        Two tries of one ``plan`` task may each have taken a number, while only one plan of the run stands: the owner
        and ``since`` then tell that nobody else came between.
        """
        return {
            "Update": LedgerTable.update_request(
                *self.key, {"held_until": now + LEASE_SECONDS}, _OURS, {"token": token, "owner": owner}
            )
        }

    def renew(self, token: int, owner: str, now: float) -> bool:
        """Renew the lease unless another run has taken it; tell whether it is ours still."""
        return self.ledger.update(
            *self.key, {"held_until": now + LEASE_SECONDS}, _OURS, {"token": token, "owner": owner}
        )

    def release(self, token: int, owner: str) -> bool:
        """Give the lease up unless another run has taken it; tell whether it was ours."""
        return self.ledger.update(*self.key, {"held_until": 0}, _OURS, {"token": token, "owner": owner})
