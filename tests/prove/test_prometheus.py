"""The rules as Prometheus itself understands them (Debian's package ``prometheus`` has promtool)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MONITORING = HERE.parents[1] / "include/monitoring"

pytestmark = [
    pytest.mark.prove,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: install Debian's package prometheus"),
]


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", str(MONITORING / "prometheus.yaml")],
        ["check", "rules", str(MONITORING / "alert_rules.yaml")],
        ["test", "rules", str(HERE / "alert_tests.yaml")],
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_agrees(arguments: list[str]) -> None:
    """The files are valid, and each alert of ``alert_tests.yaml`` is raised and ends when it should."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
