"""The rate limit holds across processes: real clocks, a real table, nothing shared but the ledger (invariant I3)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3

from catalog_sandbox import moto_aws
from catalog_sync.tickets import SPAN

PROCESSES, TAKES = 4, 8
KEYS = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
TAKER = f"""
import json, sys, time, boto3
from catalog_sync.clock import SystemClock
from catalog_sync.tickets import Tickets

client = boto3.client("dynamodb", endpoint_url=sys.argv[1], **{KEYS!r})
tickets = Tickets(client, "Ledger", SystemClock())
print(json.dumps([(tickets.take("upload"), time.time()) for _ in range({TAKES})]))
"""


def test_processes_share_one_limit() -> None:
    """Processes that take tickets as fast as they get them never hold one instant twice, so 10 a second at most."""
    server = moto_aws.start("127.0.0.1", 0)
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        boto3.client("dynamodb", endpoint_url=url, **KEYS).create_table(
            TableName="Ledger",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "include")}
        command = [sys.executable, "-c", TAKER, url]
        takers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) for _ in range(PROCESSES)]
        taken = [pair for taker in takers for pair in json.loads(taker.communicate(timeout=60)[0])]
    finally:
        server.stop()

    # How soon a busy host lets the process go on after that is not asked here: the limit rests on the instants.
    slots = sorted(round(instant / (SPAN / 10)) for instant, _ in taken)
    assert len(set(slots)) == PROCESSES * TAKES
    assert all(start >= instant for instant, start in taken)
    assert all(abs(slot * SPAN / 10 - instant) < 1e-6 for slot, (instant, _) in zip(slots, sorted(taken), strict=True))
