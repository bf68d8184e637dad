"""What the sandbox mends in moto's AWS services."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

CALLERS, ROUNDS = 8, 60


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns all the time: without the sandbox's lock a third of the rounds has several winners."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_of_conditional_writes_at_the_same_instant_one_succeeds(dynamodb: Any, hasty: None) -> None:
    """Tickets, leases and the circuit breaker rest on it."""
    together = threading.Barrier(CALLERS)
    # Made on first use, and then botocore replaces it: two threads would know two classes of this name.
    failed = dynamodb.exceptions.ConditionalCheckFailedException

    def put(name: str) -> bool:
        together.wait(30)
        try:
            item = {"pk": {"S": name}, "sk": {"S": "x"}}
            dynamodb.put_item(TableName="Ledger", Item=item, ConditionExpression="attribute_not_exists(pk)")
        except failed:
            return False
        return True

    with ThreadPoolExecutor(CALLERS) as pool:
        winners = [sum(pool.map(put, [f"round {n}"] * CALLERS)) for n in range(ROUNDS)]
    assert winners == [1] * ROUNDS
