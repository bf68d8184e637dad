"""The sandbox profile of docker-compose.yaml, without containers: its stack is made and its own rows are synced."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import yaml

from catalog_local.deploy import main
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, load
from catalog_sandbox.server import Sandbox
from catalog_sync import settings
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.run import Kind, Options, Run
from catalog_sync.sync import sync

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")
def test_the_profile_syncs_its_own_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The stack is deployed by the profile's own command, and its configuration brings its four rows to Amazon."""
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]
    # Under compose the sandbox is another host; here it is reached where it listens.
    config = load(ROOT / "include/docker/sandbox.yaml").changed(public_url="", time_scale=200.0)
    with Sandbox.start(config) as sandbox:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", DEFAULT_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", DEFAULT_SECRET)
        monkeypatch.setenv("AWS_ENDPOINT_URL", sandbox.aws_url)
        command = [
            word.replace("http://sandbox:8090", sandbox.control_url) for word in services["sandbox-init"]["command"]
        ]
        assert main(command) == 0, capsys.readouterr().err
        connections = EnvironmentConnections(
            {
                "AIRFLOW_CONN_CATALOG_API": json.dumps(
                    {
                        "host": sandbox.api_url,
                        "login": DEFAULT_KEY,
                        "password": DEFAULT_SECRET,
                        "extra": {"region_name": "us-east-1"},
                    }
                ),
                "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                    {"login": DEFAULT_KEY, "password": DEFAULT_SECRET, "extra": {"endpoint_url": sandbox.aws_url}}
                ),
            }
        )
        deployment = settings.load(ROOT / "include/docker/catalog.yaml")
        books = sync(Run.open(deployment, connections, "compose", Options(kind=Kind.COMMAND)))
        catalog = httpx.get(f"{sandbox.control_url}/sandbox/catalog").text.splitlines()
    assert books["state"] == "complete"
    assert len([row for row in map(json.loads, catalog) if row["state"] == "ACTIVE"]) == 4
