"""The ledger's table when several processes write the same item at the same time."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from catalog_sync.attempts import AttemptKey, Attempts, State
from catalog_sync.ledger import CONFLICT_TRIES, LedgerTable

NOW = 1_790_000_000.0
#: What DynamoDB answers when another transaction holds an item: a write on its own, and one of a transaction.
BUSY_ITEM = {"Error": {"Code": "TransactionConflictException"}}
BUSY_TRANSACTION = {
    "Error": {"Code": "TransactionCanceledException"},
    "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}, {"Code": "None"}, {"Code": "None"}],
}
THROTTLED = [
    {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": code}, {"Code": "None"}]}
    for code in ("ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded")
]


class Contended:
    """A client whose items other transactions hold for the first ``times`` writes; the emulator never says so."""

    def __init__(self, client: Any, times: int, busy: Any = BUSY_TRANSACTION) -> None:
        self.client = client
        self.times = times
        self.busy = busy

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            if operation in ("transact_write_items", "update_item") and self.times > 0:
                self.times -= 1
                busy = self.busy if operation == "transact_write_items" else BUSY_ITEM
                raise ClientError(busy, operation)  # type: ignore[arg-type]
            return getattr(self.client, operation)(**arguments)

        return call


def test_writers_that_meet_at_one_item_try_again(dynamodb: Any, clock: Any) -> None:
    """All upload tasks renew one lease: DynamoDB cancels those that meet, and each is done in the end."""
    attempts = Attempts(LedgerTable(dynamodb, "Ledger", clock.sleep), "acme", keep=1000.0)
    attempts.lease.take("r1", NOW)
    attempts.ledger.client = Contended(dynamodb, times=2)
    attempts.begin(AttemptKey("r1", 1, 1), 0, 10, 1, NOW)
    attempts.ledger.client = Contended(dynamodb, times=2)
    attempts.halt("r1", "why", NOW)
    assert [attempt.state for attempt in attempts.open()] == [State.SENDING]


@pytest.mark.parametrize("throttled", THROTTLED)
def test_a_throttled_transaction_is_tried_again(dynamodb: Any, clock: Any, throttled: Any) -> None:
    """Nothing of it was done, and botocore does not repeat it: Amazon's ingestion id is recorded all the same."""
    attempts = Attempts(LedgerTable(dynamodb, "Ledger", clock.sleep), "acme", keep=1000.0)
    attempts.lease.take("r1", NOW)
    one = attempts.begin(AttemptKey("r1", 1, 1), 0, 10, 1, NOW)
    attempts.ledger.client = Contended(dynamodb, times=2, busy=throttled)
    assert attempts.accepted(one, "ing-1", NOW, 0.1)
    assert [attempt.ingestion_id for attempt in attempts.of_run("r1")] == ["ing-1"]


def test_an_item_that_stays_held_is_an_error(dynamodb: Any, clock: Any) -> None:
    """The tries are bounded, and AWS's own error is raised for the scheduler to retry the task."""
    table = LedgerTable(Contended(dynamodb, times=1000), "Ledger", clock.sleep)
    with pytest.raises(ClientError, match="TransactionConflict"):
        table.update("a", "b", {"c": 1})
    assert table.client.times == 1000 - CONFLICT_TRIES
