"""A place for the worlds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def fast_folder() -> Iterator[Path]:
    """An empty folder, in memory where the machine has such."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=SHM if SHM.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
