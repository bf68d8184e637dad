"""The table in memory does what moto's DynamoDB does, for every kind of call that the ledger makes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.chaos.expressions import Condition, NotSupported
from tests.chaos.memory_aws import MemoryTable

from catalog_sync.ledger import ConditionFailed, LedgerTable, pack

_KEYS = st.sampled_from([("P", "a"), ("P", "b"), ("P", "ab"), ("Q", "a")])
_VALUES = st.sampled_from([1, 2, 2.5, "x", "y"])
_CONDITIONS = st.sampled_from(
    [
        "",
        "attribute_not_exists(#n)",
        "attribute_exists(#n)",
        "#n = :v",
        "#n <> :v",
        "#n < :v",
        "#n <= :v",
        "#n >= :v",
        "attribute_not_exists(#n) OR #n < :v",
        "#n IN (:v, :w)",
        "attribute_not_exists(#m) AND (#n = :w OR #n = :v)",
        "#n = :v OR (#m = :w AND #n <= :v)",
    ]
)
_CHANGES = st.dictionaries(st.sampled_from(["n", "m"]), _VALUES | st.none(), min_size=1)
_updates = st.tuples(st.just("update"), _KEYS, _CHANGES, _CONDITIONS, _VALUES, _VALUES)
_calls = st.one_of(
    st.tuples(st.just("put"), _KEYS, _VALUES),
    st.tuples(st.just("delete"), _KEYS),
    st.tuples(st.just("add"), _KEYS),
    st.tuples(st.just("transact"), st.lists(_updates, min_size=1, max_size=3, unique_by=lambda call: call[1])),
    _updates,
)


def done(ledger: LedgerTable, call: Any) -> Any:
    """Make one call, and return what it told."""
    kind, key = call[0], call[1]
    try:
        if kind == "put":
            return ledger.put_new({"pk": key[0], "sk": key[1], "n": call[2]})
        if kind == "delete":
            return ledger.delete(*key)
        if kind == "add":
            return ledger.add(*key, "count")
        if kind == "update":
            return ledger.update(*key, call[2], call[3], _bound(call))
        return ledger.transact([{"Update": _request(one)} for one in call[1]])
    except ConditionFailed as failed:
        return failed.reasons


def _bound(call: Any) -> dict[str, Any]:
    """The values that the condition names, no others: DynamoDB refuses what is not used."""
    return {name: value for name, value in zip("vw", call[4:], strict=True) if f":{name}" in call[3]}


def _request(call: Any) -> dict[str, Any]:
    return LedgerTable.update_request(*call[1], call[2], call[3], _bound(call))


@settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_calls, max_size=12))
def test_calls_end_as_they_do_with_moto(dynamodb: Any, calls: list[Any]) -> None:
    """After each call both tables told the same and hold the same."""
    moto, memory = LedgerTable(dynamodb, "Ledger"), LedgerTable(MemoryTable(), "Ledger")
    for pk in ("P", "Q"):
        for item in list(moto.query(pk)):
            moto.delete(pk, item["sk"])
    for call in calls:
        assert done(moto, call) == done(memory, call), call
        for pk, prefix in (("P", ""), ("P", "a"), ("Q", "")):
            assert list(moto.query(pk, prefix)) == list(memory.query(pk, prefix)), call
        assert moto.get("P", "a") == memory.get("P", "a")


@pytest.mark.parametrize("text", ["begins_with(#n, :v)", "size(#n) > :v", "#n BETWEEN :v AND :v", "#n = :v :v"])
def test_what_it_does_not_know_is_an_error(text: str) -> None:
    """An expression of a new kind fails the suite instead of being taken for true or false."""
    with pytest.raises((NotSupported, KeyError)):
        Condition(text, {"#n": "n"}, pack({":v": 1}), pack({"n": 1})).holds()
