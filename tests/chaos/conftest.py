"""A place for the worlds."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fast_place import fast_place
from tests.one_core import one_core


@pytest.fixture(scope="module")
def fast_folder() -> Iterator[Path]:
    """An empty folder, in memory where the machine has such."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=fast_place()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    """Let each of pytest-xdist's workers play on a core of its own."""
    with one_core(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))):
        yield
