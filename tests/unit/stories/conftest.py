"""A world for each story."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.conftest import SimulatedClock
from tests.fast_place import fast_place
from tests.unit.stories.outbox import NOTIFY, Outbox
from tests.unit.stories.sink import Sink
from tests.unit.stories.world import World

from catalog_sync import metrics, notify


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, in memory where the machine has such."""
    with tempfile.TemporaryDirectory(prefix="stories-", dir=fast_place()) as made:
        yield Path(made)


@pytest.fixture
def world(clock: SimulatedClock, folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The story's world. Signatures follow its clock, too."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock.time(), UTC))
    return World(clock, folder)


@pytest.fixture
def outbox(world: World) -> Iterator[Outbox]:
    """What the story's retailer sends to people."""
    made = Outbox()
    world.changes["notify"] = NOTIFY
    notify.send_to(made)
    yield made
    notify.send_to(None)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Where metrics go during the story."""
    made = Sink()
    metrics.send_to(made)
    yield made
    metrics.send_to(None)
