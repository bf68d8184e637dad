"""A retailer for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.world import world
from tests.unit.errors.retailer import Retailer


@pytest.fixture
def retailer(tmp_path: Path) -> Iterator[Retailer]:
    """A retailer and its Amazon."""
    with world(tmp_path / "world", seed=1) as made:
        yield Retailer(made, tmp_path / "world")
