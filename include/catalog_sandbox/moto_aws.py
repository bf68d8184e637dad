"""The sandbox's AWS services: moto in this process, behind HTTP, and what the sandbox itself needs of them."""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.dynamodb.responses import DynamoHandler
from moto.server import ThreadedMotoServer


class MotoAws:
    """SNS and SQS as the sandbox's own delivery uses them; ``endpoint`` is moto's URL, None inside ``mock_aws``."""

    def __init__(self, endpoint: str | None, topic_arn: str, region: str) -> None:
        self._topic_arn = topic_arn
        config = Config(retries={"max_attempts": 1, "mode": "standard"})
        # The account of the access key is the account that moto works in.
        session = boto3.Session(
            aws_access_key_id=topic_arn.split(":")[4],
            aws_secret_access_key="none",  # noqa: S106
            region_name=region,
        )
        self._sns = session.client("sns", endpoint_url=endpoint, config=config)
        self._sqs = session.client("sqs", endpoint_url=endpoint, config=config)
        self._urls: dict[str, str] = {}
        self._lock = threading.Lock()

    def create_topic(self) -> None:
        """Make the topic; nothing happens when it exists."""
        self._sns.create_topic(Name=self._topic_arn.rsplit(":", 1)[-1])

    def queues(self) -> list[str]:
        """Return the ARNs of the queues that subscribe to the topic."""
        try:
            pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=self._topic_arn)
            return [s["Endpoint"] for page in pages for s in page["Subscriptions"] if s["Protocol"] == "sqs"]
        except ClientError as error:
            # Not client.exceptions, which botocore makes on first use, and twice for two threads.
            if error.response["Error"]["Code"] != "NotFound":
                raise
            return []

    def policy(self, queue_arn: str) -> dict[str, Any] | None:
        """Return a queue's policy, or None when it has none."""
        found = self._sqs.get_queue_attributes(QueueUrl=self._url(queue_arn), AttributeNames=["All"])
        text = found.get("Attributes", {}).get("Policy")
        return json.loads(text) if text else None

    def subscribe(self, queue_arn: str) -> None:
        """Make the topic, where it is missing, and the subscription of a queue."""
        self.create_topic()
        if queue_arn not in self.queues():
            self._sns.subscribe(TopicArn=self._topic_arn, Protocol="sqs", Endpoint=queue_arn)

    def send(self, queue_arn: str, body: str) -> None:
        """Put a message into a queue."""
        self._sqs.send_message(QueueUrl=self._url(queue_arn), MessageBody=body)

    def _url(self, queue_arn: str) -> str:
        with self._lock:
            if queue_arn not in self._urls:
                self._urls[queue_arn] = self._sqs.get_queue_url(QueueName=queue_arn.rsplit(":", 1)[-1])["QueueUrl"]
            return self._urls[queue_arn]


def make_writes_atomic() -> None:
    """Let moto's DynamoDB in this process do one call at a time.

    moto looks at a condition and then writes, with nothing in between to keep another thread out: two callers that
    write "if there is none" at the same instant may both be told that they did. At AWS one of them is.
    """
    if getattr(DynamoHandler.call_action, "one_at_a_time", False):
        return
    plain, lock = DynamoHandler.call_action, threading.RLock()

    def call_action(self: DynamoHandler) -> Any:
        with lock:
            return plain(self)

    call_action.one_at_a_time = True  # type: ignore[attr-defined]
    DynamoHandler.call_action = call_action  # type: ignore[method-assign]


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; port 0 takes a free one. Raises OSError that names the address."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}; choose another port") from None
    return listener


def start(host: str, port: int) -> ThreadedMotoServer:
    """Start moto's services quietly and return their server; port 0 takes a free one.

    Raises OSError when the port is taken: moto itself would wait for ever.
    """
    if port:
        listen(host, port).close()
    make_writes_atomic()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
    server.start()
    return server
