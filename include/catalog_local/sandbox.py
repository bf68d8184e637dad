"""The sandbox beside Airflow: started for the configuration's stores and topic, with the AWS side and sample data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml

from catalog_local.environment import CHECKOUT, REGION
from catalog_local.ports import HOST, Ports
from catalog_local.processes import Processes
from catalog_local.sample import REFUSED, write_sample
from catalog_local.stack import deploy
from catalog_local.state import State
from catalog_sync.aws import Aws
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.settings import DEFAULT_CONFIG, Settings
from catalog_sync.stores import load_stores

NAME = "sandbox"
#: How many times as fast as at Amazon time runs: an upload has its report after some 5 to 13 s instead of 40 to 130,
#: and a report link lives for 6 minutes instead of 60.
TIME_SCALE = 10
START_PATIENCE = 90.0
TEMPLATE = CHECKOUT / "include" / "cloudformation" / "catalog-sync.yaml"
#: The account that the sandbox's STS and moto work in.
ACCOUNT = "123456789012"


def write_config(state: State, config: Settings, environment: Mapping[str, str]) -> str:
    """Write the sandbox's configuration for the deployment's stores and topic, and return its text."""
    stores = list(load_stores(config, EnvironmentConnections(environment)))
    made = {
        "region": REGION,
        "topic_arn": config.results.topic_arn,
        "time_scale": TIME_SCALE,
        "retailers": {config.retailer: stores},
        "accounts": {
            ACCOUNT: {"retailers": [config.retailer], "keys": {"AKIASANDBOX0000000001": "sandbox-secret"}},
        },
    }
    if config.base == DEFAULT_CONFIG.parent:
        made["faults"] = {"refuse_skus": list(REFUSED)}
    text = yaml.safe_dump(made, sort_keys=False)
    state.sandbox_config.write_text(text, encoding="utf-8")
    return text


def start(processes: Processes, state: State, ports: Ports, environment: Mapping[str, str], fingerprint: str) -> None:
    """Start the sandbox."""
    command = [sys.executable, "-m", "catalog_sandbox", "--host", HOST]
    command += ["--port", str(ports.sandbox), "--aws-port", str(ports.aws), "--config", str(state.sandbox_config)]
    processes.start(NAME, command, environment, fingerprint)


def wait_healthy(processes: Processes, ports: Ports, pause: Callable[[float], None]) -> None:
    """Wait until the sandbox answers.

    :raises LocalError: it died or stayed silent; with the end of its log.
    """

    def answers() -> bool:
        try:
            return httpx.get(f"http://{HOST}:{ports.sandbox}/sandbox/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    processes.wait(NAME, answers, START_PATIENCE, pause)


def deploy_stack(config: Settings, ports: Ports, aws: Aws) -> None:
    """Create the bucket, table, queue and role that the configuration names, and subscribe the queue to the topic."""
    lake = urlsplit(config.lake)
    if lake.scheme != "s3":
        return
    parameters = {
        "RetailerName": config.retailer.lower(),
        "BucketName": lake.netloc,
        "LakePrefix": lake.path.strip("/"),
        "TableName": config.ledger.table,
        "QueueName": config.results.queue,
        "TopicArn": config.results.topic_arn,
        "CatalogApiArn": f"arn:aws:execute-api:{REGION}:*:*/*",
        "TrustedPrincipalArn": f"arn:aws:iam::{ACCOUNT}:root",
        "RequireTls": "false",  # the sandbox speaks plain HTTP, on the loopback interface only
    }
    outputs = deploy(TEMPLATE, aws, {name: value for name, value in parameters.items() if value})
    # At Amazon this is a form in the portal.
    subscribe = f"http://{HOST}:{ports.sandbox}/sandbox/subscribe"
    httpx.post(subscribe, json={"queueArn": outputs["QueueArn"]}, trust_env=False).raise_for_status()


def write_sample_data(folder: Path, config: Settings, aws: Aws) -> None:
    """Write the sample ERP and the merchandising file, the latter to where the sample configuration looks for it."""
    if not any(folder.iterdir()):
        write_sample(folder)
    bucket = urlsplit(config.lake).netloc
    client = aws.client("s3")
    for file in sorted(folder.glob("*.csv")):
        client.put_object(Bucket=bucket, Key=f"drop/merch/{file.name}", Body=file.read_bytes())
