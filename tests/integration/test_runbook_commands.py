"""The commands of the runbooks, run against a small deployment as they stand there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.conftest import ROOT, Deployment, row
from tests.runbook_commands import DEPLOY, DOCS, INDEX, OURS, PAGES, commands

from catalog_local import deploy
from catalog_sync.cli import INCOMPLETE, OK, main

ROWS = [row(n, store) for n in range(3) for store in ("SEA-001", "PDX-001")]


def ours() -> list[str]:
    """Each of our commands in the pages, once."""
    pages = [*PAGES, INDEX, DOCS / "alerts.md"]
    return sorted({command for page in pages for command in commands(page) if command.startswith((OURS, DEPLOY))})


def words_of(command: str, run: str, file: Path) -> list[str]:
    """The command's words, with a run and a file for those that stand for one."""
    meant = {"RUN": run, "FILE": str(file), "SKU": "SKU-1", "STORE": "SEA-001"}
    return [meant.get(word, word) for word in shlex.split(command.removeprefix(OURS))]


@pytest.mark.enable_socket
def test_every_command_of_the_runbooks_runs(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a night that worked, each answers, and none finds something wrong with the way it was called."""
    deployment.sync("r1", ROWS)
    run = deployment.run_id("r1")
    config = str(deployment.folder / "catalog.yaml")
    for name, value in {**deployment.environ, "CATALOG_CONFIG": config}.items():
        monkeypatch.setenv(name, value)
    ran = []
    for command in ours():
        if command.startswith(DEPLOY):
            with pytest.raises(SystemExit) as ended:
                deploy.main(command.removeprefix(DEPLOY).split())
            assert ended.value.code == 0
        elif " | " in command:
            piped = command.replace("RUN", run).replace("python", sys.executable)
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", piped], cwd=ROOT, env=os.environ, capture_output=True
            )
            assert (done.returncode, done.stdout) == (0, b"[]\n")
        else:
            code = main(words_of(command, run, deployment.source))
            assert code in (OK, INCOMPLETE), command
        ran.append(command)
        capsys.readouterr()
    assert len(ran) > 8
