"""A deployment for tests: the sandbox's server, the AWS side from the template, a configuration, and runs."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from catalog_local.stack import deploy
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, SandboxConfig
from catalog_sandbox.server import Sandbox
from catalog_sync import settings
from catalog_sync.aws import Aws
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.run import Kind, Options, Run
from catalog_sync.sync import sync

ROOT = Path(__file__).resolve().parents[2]
QUEUE = "JWOCatalogIngestionStatusQueue"
TOPIC = "arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus"
HEADER = ["item_no", "gtin", "descr", "retail", "store_no"]
#: No result takes so long, however slow the machine: a test in which none comes says so with ``results``.
POLL_AFTER, GIVE_UP_AFTER = "60s", "240s"
STORES = ["SEA-001", "SEA-002", "PDX-001", "NYC-014", "CHI-007", "LON-003"]


def row(number: int, store: str = "SEA-001", **changes: str) -> dict[str, str]:
    """A valid row of the source: PLU barcodes need no check digit."""
    plain = {"item_no": f"SKU-{number}", "gtin": str(4000 + number), "descr": f"Item {number}", "retail": "1.50"}
    return {**plain, "store_no": store, **changes}


class Services:
    """A sandbox with the AWS side from the template, shared by a module; each test begins with a clean record."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.aws = Aws.of("us-east-1", DEFAULT_KEY, DEFAULT_SECRET, endpoint_url=sandbox.aws_url)
        with warnings.catch_warnings():
            # moto says of each resource that it does not know; the deployment then sets them itself.
            warnings.simplefilter("ignore", UserWarning)
            self.outputs = deploy(
                ROOT / "include" / "cloudformation" / "catalog-sync.yaml",
                self.aws,
                {
                    "RetailerName": "acme",
                    "BucketName": "acme-catalog",
                    "TopicArn": TOPIC,
                    "CatalogApiArn": "arn:aws:execute-api:us-east-1:123456789012:api/prod",
                    "TrustedPrincipalArn": "arn:aws:iam::123456789012:root",
                    "RequireTls": "false",
                },
            )
        self.count = 0

    def fresh(self) -> str:
        """Forget what the last test did, and return a name for the next one's things."""
        self.count += 1
        for path, body in (("/sandbox/reset", None), ("/sandbox/subscribe", {"queueArn": self.outputs["QueueArn"]})):
            httpx.post(self.sandbox.control_url + path, json=body, timeout=30).raise_for_status()
        return f"t{self.count}"


class Deployment:
    """One retailer's deployment, with a lake, a lease and runs of its own."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services = services
        self.name = services.fresh()
        self.sandbox = sandbox = services.sandbox
        self.folder = folder
        self.source = folder / "items.csv"
        outputs = services.outputs
        aws_connection = {"login": DEFAULT_KEY, "password": DEFAULT_SECRET, "extra": {"endpoint_url": sandbox.aws_url}}
        api_connection = {
            "host": sandbox.api_url,
            "extra": {"region_name": "us-east-1", "role_arn": outputs["RoleArn"]},
        }
        self.environ = {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws_connection),
            "AIRFLOW_CONN_CATALOG_API": json.dumps(api_connection),
        }
        self.raw: dict[str, Any] = {
            "retailer": f"acme-{self.name}",
            "stores": {"ids": STORES},
            "lake": f"s3://acme-catalog/{self.name}",
            "results": {
                "queue": QUEUE,
                "topic_arn": TOPIC,
                "wait": "1s",
                "poll_after": POLL_AFTER,
                "poll_every": "1s",
                "give_up_after": GIVE_UP_AFTER,
                "certificate_hosts": [url.removeprefix("http://") for url in (sandbox.control_url, sandbox.aws_url)],
            },
            "sources": [{"name": "erp", "kind": "file", "path": str(self.source), "format": "csv"}],
            "mapping": {
                "item_sku": "item_no",
                "external_product_id": "gtin",
                "item_name": "descr",
                "standard_price": "retail",
                "store_id": "store_no",
            },
        }

    def control(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the sandbox's control plane."""
        answer = httpx.request(method, self.sandbox.control_url + path, timeout=30, **arguments)
        answer.raise_for_status()
        return answer

    def lines(self, path: str) -> list[dict[str, Any]]:
        """Read JSON Lines of the sandbox's own record."""
        return [json.loads(line) for line in self.control("GET", path).text.splitlines()]

    def faults(self, **plan: Any) -> None:
        """Set the faults."""
        self.control("PUT", "/sandbox/faults", json=plan)

    def write(self, rows: list[dict[str, str]]) -> None:
        """Write the source."""
        with self.source.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(rows)

    def results(self, **changes: str) -> dict[str, Any]:
        """The configuration of results, with changes."""
        return {**self.raw["results"], **changes}

    def settings(self, **changes: Any) -> settings.Settings:
        """The configuration, with changes at the top level."""
        file = self.folder / "catalog.yaml"
        file.write_text(yaml.safe_dump({**self.raw, **changes}), encoding="utf-8")
        return settings.load(file)

    def run_id(self, name: str) -> str:
        """The run's id in the shared ledger."""
        return f"{self.name}-{name}"

    def open(self, run_id: str, options: Options | None = None, **changes: Any) -> Run:
        """Open a run."""
        asked = options or Options(kind=Kind.COMMAND)
        return Run.open(self.settings(**changes), EnvironmentConnections(self.environ), self.run_id(run_id), asked)

    def sync(self, run_id: str, rows: list[dict[str, str]] | None = None, **changes: Any) -> dict[str, Any]:
        """Run the whole job, on new rows if given, and return its books."""
        if rows is not None:
            self.write(rows)
        options = changes.pop("options", None)
        return sync(self.open(run_id, options, **changes))

    def catalog(self) -> dict[tuple[str, str], str]:
        """What Amazon has: (store, SKU) → name, of active items."""
        return {
            (item["store_id"], item["item_sku"]): item["item_name"]
            for item in self.lines("/sandbox/catalog")
            if item["state"] == "ACTIVE"
        }

    def uploads(self) -> int:
        """How many upload requests Amazon has seen."""
        return sum(request["operation"] == "upload" for request in self.lines("/sandbox/requests"))


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """A sandbox in which Amazon's minutes pass in fractions of a second."""
    with Sandbox.start(SandboxConfig(time_scale=200.0)) as sandbox:
        yield Services(sandbox)


@pytest.fixture
def deployment(services: Services, tmp_path: Path) -> Deployment:
    """A fresh deployment."""
    return Deployment(services, tmp_path)
