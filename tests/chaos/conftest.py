"""A place for the worlds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fast_place import fast_place


@pytest.fixture(scope="module")
def fast_folder() -> Iterator[Path]:
    """An empty folder, in memory where the machine has such."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=fast_place()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
