"""What is ours: the queues, the ledger, the lake, the disk, and the channels for messages."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from catalog_sync.alerts.kinds import Severity
from catalog_sync.dead_letters import DeadLetterQueue
from catalog_sync.disk import KEEP_FREE, free_bytes
from catalog_sync.errors import CatalogSyncError, shorten
from catalog_sync.probe import Check, Look, Status

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Notices that wait although somebody drains the queue every hour. A large first load has 1,000 batches.
WAITING = 1_000
#: Bytes on a disk below which a night may not end.
LOW_DISK = 2 * 1024**3
_TEMPLATE = "include/cloudformation/catalog-sync.yaml"


def look_at_queue(run: Run) -> Check:
    """Find the queue and count what waits. SQS tells no message's age without handing it out, so that is not asked."""
    name, _, told = _queue(run)
    waiting, hidden = (
        int(told[key]) for key in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    )
    seen = f"{name}: about {waiting:,} notices wait, {hidden:,} are being read"
    if waiting < WAITING:
        return Check("queue", Status.OK, seen)
    return Check("queue", Status.WARN, seen, "Is collect_upload_results paused? Unpause it, or run it by hand.")


def look_at_queue_policy(run: Run) -> Check:
    """Compare the queue's policy with what the template writes: Amazon's topic may send, and nobody else."""
    name, arn, told = _queue(run)
    topic = run.settings.results.topic_arn
    statements = _allowing(json.loads(told.get("Policy") or "{}"))
    advice = f"Give the queue the policy of {_TEMPLATE} (AllowSNSToSendMessage), with TopicArn {topic}."
    right = [one for one in statements if _lets_topic_send(one, arn, topic)]
    if not right:
        return Check("queue_policy", Status.FAIL, f"{name}: the policy does not let {topic} send", advice)
    others = [str(one.get("Sid", "a statement without Sid")) for one in statements if one not in right]
    if others:
        seen = f"{name}: the topic may send, and so may others: {shorten(', '.join(others), 200)}"
        return Check("queue_policy", Status.WARN, seen, advice)
    return Check("queue_policy", Status.OK, f"{name}: the topic may send, nobody else")


def look_at_dead_letters(run: Run) -> Check:
    """Find the dead-letter queue and count what lies there."""
    sqs = run.aws.client("sqs")
    url = sqs.get_queue_url(QueueName=run.settings.results.queue)["QueueUrl"]
    queue = DeadLetterQueue.of(sqs, url)
    if queue is None:
        advice = f"Give it one, as {_TEMPLATE} does: what cannot be understood is else tried until SQS drops it."
        return Check("dead_letters", Status.WARN, "the queue names no dead-letter queue", advice)
    told = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    count = int(told["ApproximateNumberOfMessages"])
    if not count:
        return Check("dead_letters", Status.OK, "none")
    advice = "See why: python -m catalog_sync dead-letters, and docs/runbooks/dead-letters.md."
    return Check("dead_letters", Status.WARN, f"about {count:,} dead letters", advice)


def look_at_ledger(run: Run) -> Check:
    """Write an item of our own on a condition, read it back, change it and delete it."""
    pk, sk = f"PROBE#{run.settings.retailer}", run.token()
    item = {"pk": pk, "sk": sk, "at": run.clock.time(), "expires_at": int(run.clock.time()) + 3600}
    ledger, name = run.ledger, run.settings.ledger.table
    kept = (ledger.put_new(item), ledger.put_new(item), ledger.update(pk, sk, {"seen": 1}), ledger.get(pk, sk))
    ledger.delete(pk, sk)
    if kept[:3] == (True, False, True) and kept[3] == {**item, "seen": 1} and ledger.get(pk, sk) is None:
        return Check("ledger", Status.OK, f"table {name}: conditional write, read, update and delete work")
    return Check("ledger", Status.FAIL, f"table {name} does not keep what it is told", "Is this DynamoDB itself?")


def look_at_lake(run: Run) -> Check:
    """Write an object of our own, read it back, and see that a write on the condition that it is new does nothing.

    The object stays, the same one each time: the workers may delete nothing outside tables.
    """
    key, data = f"probe/{run.settings.retailer}.json", json.dumps({"at": run.clock.time()}).encode()
    run.lake.put(key, data)
    if run.lake.get(key) == data and not run.lake.create(key, b"{}") and run.lake.get(key) == data:
        return Check("lake", Status.OK, f"{run.lake.uri}: write, read and conditional write work")
    advice = "The store must support conditional writes (If-None-Match), as S3 does."
    return Check("lake", Status.FAIL, f"{run.lake.uri} does not keep what it is told", advice)


def look_at_disk(run: Run) -> Check:
    """See how much is free where this host writes: the lake, when it is a folder, and temporary files."""
    folders = [tempfile.gettempdir(), *([] if "://" in run.lake.uri else [run.lake.uri])]
    free = {folder: free_bytes(folder) for folder in folders}
    seen = ", ".join(f"{folder}: {size / 1024**3:,.1f} GiB free" for folder, size in free.items())
    least = min(free.values())
    if least >= LOW_DISK:
        return Check("disk", Status.OK, seen)
    return Check("disk", Status.FAIL if least < KEEP_FREE else Status.WARN, seen, "Make room before the next night.")


def look_at_channels(run: Run) -> Check:
    """See that whatever messages, alerts and the heartbeat go through has its connection. Nothing is sent."""
    notify, alerts = run.settings.notify, run.settings.alerts
    routed = [name for route in alerts.routes.values() for name in route]
    used = {name: notify.channels[name].conn_id for name in sorted({*notify.stores, *notify.sources, *routed})}
    if alerts.heartbeat.ping_conn_id:
        used["alerts.heartbeat"] = alerts.heartbeat.ping_conn_id
    lacking = [f"{name} ({conn_id})" for name, conn_id in used.items() if not _has_connection(run, conn_id)]
    if lacking:
        seen = f"without a connection: {', '.join(lacking)}"
        return Check("channels", Status.WARN, seen, "Add the connection in Airflow.")
    if not used:
        return Check("channels", Status.OK, "none is in use: nobody is told")
    silent = [severity.value for severity in Severity if not alerts.routes.get(severity)]
    more = f"; no channel for {' and '.join(silent)} alerts" if silent else ""
    return Check("channels", Status.OK, f"in use: {', '.join(used)}{more}")


def _has_connection(run: Run, conn_id: str) -> bool:
    if conn_id == run.settings.aws.conn_id:
        return True  # without one boto3's own credentials count
    try:
        run.connections.get(conn_id)
    except CatalogSyncError:
        return False
    return True


def _queue(run: Run) -> tuple[str, str, Mapping[str, str]]:
    """Return the queue's name, its ARN and its attributes."""
    sqs, name = run.aws.client("sqs"), run.settings.results.queue
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return name, told["QueueArn"], told


def _allowing(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    statements = policy.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    return [one for one in listed if one.get("Effect") == "Allow"]


def _lets_topic_send(statement: Mapping[str, Any], queue: str, topic: str) -> bool:
    """Tell whether the statement is the one that the template writes."""
    conditions = statement.get("Condition", {})
    sources = [value for key in ("ArnEquals", "ArnLike", "StringEquals") for value in _of(conditions.get(key, {}))]
    return (
        statement.get("Principal") == {"Service": "sns.amazonaws.com"}
        and {action.lower() for action in _listed(statement.get("Action"))} <= {"sqs:sendmessage"}
        and _listed(statement.get("Resource")) == [queue]
        and sources == [topic]
    )


def _of(condition: Mapping[str, Any]) -> Iterator[str]:
    for key, value in condition.items():
        if key.lower() == "aws:sourcearn":
            yield from _listed(value)


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


LOOKS: dict[str, Look] = {
    "ledger": look_at_ledger,
    "lake": look_at_lake,
    "disk": look_at_disk,
    "queue": look_at_queue,
    "queue_policy": look_at_queue_policy,
    "dead_letters": look_at_dead_letters,
    "channels": look_at_channels,
}
