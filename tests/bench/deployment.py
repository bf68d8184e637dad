"""The project's own deployment in the benchmark: a lake in a folder, the ledger in the sandbox's DynamoDB.

Between two measured runs the ledger is put back to what it was, so that each run finds the same state.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.names import COLUMNS, FURTHER
from tests.bench.place import Place

from catalog_sync.aws import Aws
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settings import Settings

TABLE, QUEUE, RETAILER, SOURCE = "Ledger", "Results", "bench", "erp"
#: The sandbox's own key, public and of use nowhere else (docs/sandbox.md).
KEY, SECRET, REGION = "AKIASANDBOX0000000001", "sandbox-secret", "us-east-1"
MAPPING = {**{target: column for column, target in COLUMNS.items()}, "additional_external_product_ids": FURTHER}


def connections(place: Place) -> EnvironmentConnections:
    """Return the connections that lead to the sandbox."""
    aws = {"login": KEY, "password": SECRET, "extra": {"endpoint_url": place.aws_url}}
    api = {"host": place.api_url, "login": KEY, "password": SECRET, "extra": {"region_name": REGION}}
    variables = {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws), "AIRFLOW_CONN_CATALOG_API": json.dumps(api)}
    return EnvironmentConnections(variables)


def settings(place: Place) -> Settings:
    """Return the configuration: the defaults, one Parquet source, a lake in a folder."""
    return Settings.model_validate(
        {
            "retailer": RETAILER,
            "stores": {"ids": place.stores},
            "lake": place.lake,
            "ledger": {"table": TABLE},
            "results": {"queue": QUEUE, "topic_arn": f"arn:aws:sns:{REGION}:123456789012:{QUEUE}", "wait": "0s"},
            "sources": [{"name": SOURCE, "kind": "file", "path": place.source, "format": "parquet"}],
            "mapping": MAPPING,
        }
    )


def open_run(place: Place, run_id: str) -> Run:
    """Open a run."""
    return Run.open(settings(place), connections(place), run_id, Options(kind=Kind.COMMAND))


def ledger_client(aws_url: str) -> Any:
    """Return a DynamoDB client of the sandbox."""
    return _aws(aws_url).client("dynamodb")


def _aws(aws_url: str) -> Aws:
    return Aws.of(REGION, KEY, SECRET, endpoint_url=aws_url)


def save_ledger(aws_url: str, file: Path) -> None:
    """Write every item of the ledger to the file."""
    items: list[dict[str, Any]] = []
    for page in ledger_client(aws_url).get_paginator("scan").paginate(TableName=TABLE):
        items += page["Items"]
    file.write_text(json.dumps(items), encoding="utf-8")


def restore_ledger(aws_url: str, file: Path | None = None) -> None:
    """Make the ledger what ``save_ledger`` wrote, or empty; the queue of results is there afterwards."""
    _aws(aws_url).client("sqs").create_queue(QueueName=QUEUE)
    client = ledger_client(aws_url)
    if TABLE in client.list_tables()["TableNames"]:
        client.delete_table(TableName=TABLE)
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in json.loads(file.read_text(encoding="utf-8")) if file else []:
        client.put_item(TableName=TABLE, Item=item)


if __name__ == "__main__":
    restore_ledger(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
