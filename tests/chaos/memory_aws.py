"""DynamoDB and SQS in memory: exactly the calls that the project makes, strict about everything else.

moto does the same at forty times the cost. ``test_memory_aws.py`` holds the table against moto.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from tests.chaos.effects import Effects
from tests.chaos.expressions import Condition, Item, updated


class MemoryTable:
    """One DynamoDB table with string keys ``pk`` and ``sk``."""

    def __init__(self, effects: Effects | None = None) -> None:
        self.items: dict[tuple[str, str], Item] = {}
        self._effects = effects or Effects()

    def get_item(self, TableName: str, Key: Item, ConsistentRead: bool) -> dict[str, Any]:
        """Return the item, if there is one; every decision wants it strongly consistent."""
        assert ConsistentRead
        item = self.items.get(_key(Key))
        return {"Item": dict(item)} if item else {}

    def query(
        self,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        ConsistentRead: bool,
        ExclusiveStartKey: Item | None = None,
        ScanIndexForward: bool = True,
        Limit: int | None = None,
    ) -> dict[str, Any]:
        """Return the items of one partition by their sort keys, or the other way round.

        Strongly consistent, but for the journal of runs, which serves screens only.
        """
        pk = ExpressionAttributeValues[":pk"]["S"]
        assert ConsistentRead or pk.startswith("RUNS#")
        prefix = ExpressionAttributeValues.get(":prefix", {"S": ""})["S"]
        before = ExpressionAttributeValues.get(":before", {"S": ""})["S"]
        mine = (key for key in self.items if key[0] == pk and key[1].startswith(prefix))
        keys = sorted((key for key in mine if not before or key[1] < before), reverse=not ScanIndexForward)
        return {"Items": [dict(self.items[key]) for key in keys[:Limit]]}

    def put_item(self, TableName: str, **request: Any) -> dict[str, Any]:
        """Write an item, if the condition holds."""
        return self._write("put_item", "Put", request)

    def update_item(self, TableName: str, ReturnValues: str = "NONE", **request: Any) -> dict[str, Any]:
        """Change an item, if the condition holds."""
        return self._write("update_item", "Update", request, ReturnValues)

    def delete_item(self, TableName: str, **request: Any) -> dict[str, Any]:
        """Remove an item."""
        return self._write("delete_item", "Delete", request)

    def transact_write_items(self, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:
        """Do all writes or none."""
        writes = [(kind, request) for entry in TransactItems for kind, request in entry.items()]
        keys = [_key(request.get("Item") or request["Key"]) for _, request in writes]
        if len(set(keys)) < len(keys):
            raise _error("ValidationException", "TransactWriteItems")
        with self._effects.around("ledger transaction"):
            failed = [not self._holds(request) for _, request in writes]
            if any(failed):
                reasons = [{"Code": "ConditionalCheckFailed" if bad else "None"} for bad in failed]
                raise _error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
            for kind, request in writes:
                self._apply(kind, request)
        return {}

    def forget(self, now: float) -> None:
        """Remove what has expired, as DynamoDB's TTL does in its own time."""
        for key in [key for key, item in self.items.items() if float(item.get("expires_at", {"N": "inf"})["N"]) < now]:
            del self.items[key]

    def _write(self, name: str, kind: str, request: dict[str, Any], returns: str = "NONE") -> dict[str, Any]:
        with self._effects.around("ledger write"):
            if not self._holds(request):
                raise _error("ConditionalCheckFailedException", name)
            self._apply(kind, request)
        if returns == "NONE":
            return {}
        changed = {request["ExpressionAttributeNames"][name] for name in request["ExpressionAttributeNames"]}
        item = self.items[_key(request["Key"])]
        return {"Attributes": {name: item[name] for name in changed if name in item}}

    def _holds(self, request: dict[str, Any]) -> bool:
        text = request.get("ConditionExpression")
        if not text:
            return True
        item = self.items.get(_key(request.get("Item") or request["Key"]))
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        return Condition(text, names, values, item).holds()

    def _apply(self, kind: str, request: dict[str, Any]) -> None:
        if kind == "Put":
            self.items[_key(request["Item"])] = dict(request["Item"])
        elif kind == "Delete":
            self.items.pop(_key(request["Key"]), None)
        elif kind == "Update":
            key = _key(request["Key"])
            names, values = request["ExpressionAttributeNames"], request.get("ExpressionAttributeValues", {})
            before = self.items.get(key, dict(request["Key"]))
            self.items[key] = updated(before, request["UpdateExpression"], names, values)


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _error(code: str, operation: str, **more: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": code}, **more}
    return ClientError(answer, operation)


@dataclass
class Message:
    """A message in a queue."""

    id: str
    body: str
    sent_at: float
    visible_at: float
    receives: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)


class MemoryQueues:
    """SQS: a queue and its dead-letter queue. Order is not kept, and a delete may fail.

    :param on_delete: told of the body of each message that is deleted, before it is.
    """

    VISIBILITY = 30.0
    MAX_RECEIVES = 5

    def __init__(
        self,
        clock: Any,
        effects: Effects,
        rng: random.Random,
        on_delete: Callable[[str], None] = lambda body: None,
    ) -> None:
        self.queues: dict[str, list[Message]] = {"results": [], "results-dlq": []}
        self.failing_deletes = 0
        self._clock, self._effects, self._rng, self._on_delete = clock, effects, rng, on_delete
        self._made = 0

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        """Return the queue's URL."""
        return {"QueueUrl": f"https://sqs.test/123456789012/{QueueName}"}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        """Return how many messages there are, and where dead letters go."""
        name = _name(QueueUrl)
        policy = f'{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:{name}-dlq", "maxReceiveCount": "5"}}'
        known = {"ApproximateNumberOfMessages": str(len(self.queues[name])), "QueueArn": f"arn:x:{name}"}
        if not name.endswith("-dlq"):
            known["RedrivePolicy"] = policy
        return {
            "Attributes": {
                key: value for key, value in known.items() if key in AttributeNames or "All" in AttributeNames
            }
        }

    def put(self, body: str) -> None:
        """Let Amazon's topic deliver a message."""
        self._made += 1
        now = self._clock.time()
        self.queues["results"].append(Message(f"m{self._made}", body, now, now))

    def receive_message(
        self, QueueUrl: str, MaxNumberOfMessages: int = 1, WaitTimeSeconds: int = 0, **asked: Any
    ) -> dict[str, Any]:
        """Hand out some visible messages, in any order, and hide them for a while."""
        queue = self.queues[_name(QueueUrl)]
        if WaitTimeSeconds and not self._visible(queue):
            self._clock.sleep(WaitTimeSeconds)
        with self._effects.around("queue receive"):
            found = self._visible(queue)
            self._rng.shuffle(found)
            handed = found[:MaxNumberOfMessages]
            for message in handed:
                message.receives += 1
                message.visible_at = self._clock.time() + self.VISIBILITY
        return {"Messages": [_handed(message) for message in handed]} if handed else {}

    def _visible(self, queue: list[Message]) -> list[Message]:
        now = self._clock.time()
        if queue is self.queues["results"]:
            for message in [m for m in queue if m.visible_at <= now and m.receives >= self.MAX_RECEIVES]:
                queue.remove(message)
                self.queues["results-dlq"].append(message)
        return [message for message in queue if message.visible_at <= now]

    def delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:
        """Delete messages; some may stay, which is reported."""
        queue, failed, done = self.queues[_name(QueueUrl)], [], []
        with self._effects.around("queue delete"):
            for entry in Entries:
                if self.failing_deletes:
                    self.failing_deletes -= 1
                    failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
                    continue
                for message in [m for m in queue if m.id == entry["ReceiptHandle"].partition("/")[0]]:
                    self._on_delete(message.body)
                    queue.remove(message)
                done.append({"Id": entry["Id"]})
        return {"Successful": done, **({"Failed": failed} if failed else {})}

    def send_message(self, QueueUrl: str, MessageBody: str, MessageAttributes: Any = None) -> dict[str, str]:
        """Put a message into a queue."""
        self._made += 1
        with self._effects.around("queue send"):
            now = self._clock.time()
            made = Message(f"m{self._made}", MessageBody, now, now, attributes=MessageAttributes or {})
            self.queues[_name(QueueUrl)].append(made)
        return {"MessageId": made.id}


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _handed(message: Message) -> dict[str, Any]:
    return {
        "MessageId": message.id,
        "ReceiptHandle": f"{message.id}/{message.receives}",
        "Body": message.body,
        "Attributes": {
            "ApproximateReceiveCount": str(message.receives),
            "SentTimestamp": str(int(message.sent_at * 1000)),
        },
        "MessageAttributes": message.attributes,
    }
