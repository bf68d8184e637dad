"""A world for each story; the AWS services live in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
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
def make_world(
    services: tuple[Any, Any], clock: SimulatedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], World]:
    """Makes worlds of their own, with one clock, which signatures follow too."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock.time(), UTC))
    numbers = itertools.count(1)

    def make() -> World:
        name = f"{tmp_path.name[:60]}-{next(numbers)}"
        return World(*services, clock, tmp_path / name, name)

    return make


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    """The story's world."""
    return make_world()
