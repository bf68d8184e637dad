"""The ledger: one DynamoDB table that says what was sent, under which ingestion id, and how far it got.

Keys (``pk`` / ``sk``), every decision a strongly consistent read of a primary key:

    LEASE#<retailer>      / LEASE                   who may send (see ``lease``)
    PLANS#<retailer>      / <plan number>           which run made which plan
    RUNS#<retailer>       / <began>#<run>           a short record of each run, for screens (see ``journal``)
    RATE#<slot>           / TICKET                  one request may start at that instant (see ``tickets``)
    BREAKER#<retailer>    / BREAKER                 how many requests failed in a row, or until when nobody calls Amazon
    RUN#<run>             / RUN                     the run: its plan, how many batches are sent, whether sending is
                                                    halted
    RUN#<run>             / COUNTED                 what the metrics have counted of its books (see ``run_metrics``)
    RUN#<run>             / BATCH#<n>               one batch
    RUN#<run>             / ATTEMPT#<n>#<attempt>   one request to Amazon for a range of the batch's items
    RUN#<run>             / NOTICE#<name>#<channel> a message that goes out once (see ``notify``)
    NOTICES#<retailer>    / SOURCE#<name>           with which run's faults of the source the next run compares its own
    BOOKED#<retailer>     / PLANS                   before when no plan lacks its books (see ``abandoned``)
    PROBE#<retailer>      / <token>                 what the probe writes, reads and deletes
    OPEN#<retailer>       / <run>#<n>#<attempt>     pointer to an attempt that is not settled
    INGESTION#<id>        / ATTEMPT                 ingestion id → attempt
    INGESTION#<id>        / NOTICE                  the furthest state that a notice reported, perhaps before our own
                                                    write

Items that are settled carry ``expires_at`` and go by DynamoDB's TTL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from catalog_sync.errors import Misconfigured

#: Writes that meet another transaction at an item are cancelled by DynamoDB at once, and boto3 does not repeat them
#: (AWS, "Amazon DynamoDB Transactions: How it works", transaction conflict handling). All upload tasks renew one lease.
CONFLICT_TRIES = 10
#: Why DynamoDB cancels a transaction that may pass as it is. boto3 repeats none of them either, since the transaction's
#: own error is another (AWS, API reference of ``TransactWriteItems``, cancellation reasons).
_PASSING = frozenset(
    {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}
)

_TO = TypeSerializer()
_FROM = TypeDeserializer()

Item = dict[str, Any]


class ConditionFailed(Exception):
    """A conditional write found another state; ``reasons`` tells of each write of a transaction if it was the cause."""

    def __init__(self, reasons: list[bool]) -> None:
        super().__init__(f"condition failed: {reasons}")
        self.reasons = reasons


def pack(item: Item) -> dict[str, Any]:
    """Return the item in DynamoDB's typed form; floats become numbers, ``None`` values are left out."""
    return {
        key: _TO.serialize(Decimal(repr(value)) if isinstance(value, float) else value)
        for key, value in item.items()
        if value is not None
    }


def unpack(raw: dict[str, Any]) -> Item:
    """Return the item of its typed form; numbers become ``int`` where integral, else ``float``."""
    return {key: _plain(_FROM.deserialize(value)) for key, value in raw.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


class LedgerTable:
    """The table, as few calls as the domain needs.

    :param client: a boto3 DynamoDB client.
    :param name: the table's name.
    :param sleep: how to wait before a write that met another one is tried again.
    :raises Misconfigured: (every call) the table does not exist or may not be used.
    """

    def __init__(self, client: Any, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.client = client
        self.name = name
        self._retrying = Retrying(
            retry=retry_if_exception(_is_conflict),
            stop=stop_after_attempt(CONFLICT_TRIES),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            sleep=sleep,
            reraise=True,
        )

    def get(self, pk: str, sk: str) -> Item | None:
        """Return the item, read strongly consistent, or ``None``."""
        answer = self._call("get_item", Key=pack({"pk": pk, "sk": sk}), ConsistentRead=True)
        return unpack(answer["Item"]) if "Item" in answer else None

    def query(self, pk: str, prefix: str = "") -> Iterator[Item]:
        """Yield the items under ``pk`` whose ``sk`` begins with ``prefix``, in order, read strongly consistent."""
        arguments: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :prefix)" if prefix else ""),
            "ExpressionAttributeValues": pack({":pk": pk, **({":prefix": prefix} if prefix else {})}),
            "ConsistentRead": True,
        }
        while True:
            page = self._call("query", **arguments)
            yield from (unpack(raw) for raw in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def newest(self, pk: str, limit: int, before: str = "") -> list[Item]:
        """Return at most ``limit`` items under ``pk``, the greatest ``sk`` first; with ``before``, only lesser ones.

        Eventually consistent: for screens.
        """
        arguments: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk" + (" AND sk < :before" if before else ""),
            "ExpressionAttributeValues": pack({":pk": pk, **({":before": before} if before else {})}),
            "ConsistentRead": False,
            "ScanIndexForward": False,
        }
        found: list[Item] = []
        while len(found) < limit:
            page = self._call("query", **arguments, Limit=limit - len(found))
            found += (unpack(raw) for raw in page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return found

    def put_new(self, item: Item) -> bool:
        """Write the item unless its key is taken; tell whether it was written."""
        try:
            self._call("put_item", Item=pack(item), ConditionExpression="attribute_not_exists(pk)")
        except ConditionFailed:
            return False
        return True

    def claim(self, item: Item) -> bool:
        """Write the item unless its key is taken; tell whether what is there is ours: nobody else's has its ``by``.

        What ``put_new`` says is not enough for that: botocore repeats a write whose answer was lost, and then the key
        is taken by ourselves.
        """
        return self.put_new(item) or (self.get(item["pk"], item["sk"]) or {}).get("by") == item["by"]

    def update(self, pk: str, sk: str, changes: Item, condition: str = "", values: Item | None = None) -> bool:
        """Set the attributes of ``changes`` (``None`` removes one); tell whether ``condition`` let it through.

        ``condition`` may name any attribute as ``#name`` and the entries of ``values`` as ``:name``.
        """
        try:
            self._call("update_item", **self.update_request(pk, sk, changes, condition, values))
        except ConditionFailed:
            return False
        return True

    @staticmethod
    def update_request(
        pk: str, sk: str, changes: Item, condition: str = "", values: Item | None = None
    ) -> dict[str, Any]:
        """Return the request of ``update``, for a transaction."""
        import re

        sets = [f"#{key} = :set_{key}" for key, value in changes.items() if value is not None]
        removes = [f"#{key}" for key, value in changes.items() if value is None]
        expression = " ".join(
            [*([f"SET {', '.join(sets)}"] if sets else []), *([f"REMOVE {', '.join(removes)}"] if removes else [])]
        )
        names = {f"#{key}": key for key in changes} | {f"#{n}": n for n in re.findall(r"#(\w+)", condition)}
        bound = {f":set_{key}": value for key, value in changes.items() if value is not None}
        bound |= {f":{key}": value for key, value in (values or {}).items()}
        request: dict[str, Any] = {
            "Key": pack({"pk": pk, "sk": sk}),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": names,
        }
        if bound:
            request["ExpressionAttributeValues"] = pack(bound)
        if condition:
            request["ConditionExpression"] = condition
        return request

    def add(self, pk: str, sk: str, attribute: str, amount: int = 1) -> int:
        """Add ``amount`` to a counter and return its new value.

        botocore repeats a write whose answer was lost: where one too many does harm, add in a transaction.
        """
        answer = self._call("update_item", **self.add_request(pk, sk, attribute, amount), ReturnValues="UPDATED_NEW")
        return int(unpack(answer["Attributes"])[attribute])

    @staticmethod
    def add_request(pk: str, sk: str, attribute: str, amount: int = 1) -> dict[str, Any]:
        """Return the request of ``add``, for a transaction."""
        return {
            "Key": pack({"pk": pk, "sk": sk}),
            "UpdateExpression": "ADD #a :n",
            "ExpressionAttributeNames": {"#a": attribute},
            "ExpressionAttributeValues": pack({":n": amount}),
        }

    def delete(self, pk: str, sk: str) -> None:
        """Delete the item, if it is there."""
        self._call("delete_item", Key=pack({"pk": pk, "sk": sk}))

    def transact(self, writes: list[dict[str, Any]]) -> None:
        """Do all the writes or none.

        :param writes: each ``{"Put" | "Update" | "Delete" | "ConditionCheck": request}``, without the table's name.

        :raises ConditionFailed: a condition did not hold; ``reasons`` tells whose.
        """
        items = [{kind: {"TableName": self.name, **request}} for write in writes for kind, request in write.items()]
        self._call("transact_write_items", table=False, TransactItems=items)

    def _call(self, operation: str, table: bool = True, **arguments: Any) -> Any:
        try:
            call = getattr(self.client, operation)
            return self._retrying.copy()(call, **({"TableName": self.name} if table else {}), **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ConditionalCheckFailedException":
                raise ConditionFailed([True]) from None
            if code == "TransactionCanceledException":
                reasons = _reasons(error)
                if "ConditionalCheckFailed" in reasons:
                    raise ConditionFailed([reason == "ConditionalCheckFailed" for reason in reasons]) from None
            if code in ("ResourceNotFoundException", "AccessDeniedException", "UnrecognizedClientException"):
                raise Misconfigured(
                    f"ledger table {self.name!r}: {code}; create it from include/cloudformation/catalog-sync.yaml, "
                    "or mend ledger.table, the region or the permissions of the AWS connection"
                ) from None
            raise


def _reasons(error: ClientError) -> list[Any]:
    """Return, for each write of a cancelled transaction, what was wrong with it (``None`` as text when nothing)."""
    response: dict[str, Any] = dict(error.response)
    return [reason.get("Code") for reason in response.get("CancellationReasons", [])]


def _is_conflict(error: BaseException) -> bool:
    """Tell whether the write met another one, or too many: worth trying again, unless a condition failed, too."""
    if not isinstance(error, ClientError):
        return False
    code, reasons = error.response.get("Error", {}).get("Code", ""), _reasons(error)
    met = code == "TransactionCanceledException" and not _PASSING.isdisjoint(reasons)
    return code == "TransactionConflictException" or (met and "ConditionalCheckFailed" not in reasons)
