"""What a task imports, it pays for at every start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

INCLUDE = Path(__file__).resolve().parents[3] / "include"
HEAVY = ("pandas", "polars", "pyarrow", "numpy", "deltalake", "pandera", "airflow")


@pytest.mark.parametrize("module", ["upload", "collect", "run", "cli"])
def test_no_frame_library_is_imported(module: str) -> None:
    """An upload task, the triggerer and the command line's start need none of them."""
    code = f"import sys, catalog_sync.{module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(INCLUDE)}, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
