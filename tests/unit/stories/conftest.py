"""A world for each story; the AWS services live in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.conftest import SimulatedClock
from tests.unit.stories.world import World


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[Any, Any]]:
    """DynamoDB and SQS; making their clients takes longer than most stories."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        yield boto3.client("dynamodb", region_name="us-east-1"), boto3.client("sqs", region_name="us-east-1")


@pytest.fixture
def world(
    services: tuple[Any, Any], clock: SimulatedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """The story's world. Signatures follow its clock, too."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock.time(), UTC))
    world = World(*services, clock, tmp_path, tmp_path.name[:60])
    yield world
    world.close()
