"""The sandbox as a process of its own, on free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measure import ROOT, Broken

_HOST = "127.0.0.1"
_PATIENCE = 60.0


@dataclass(frozen=True)
class Services:
    """Where the sandbox answers."""

    api_url: str
    aws_url: str

    def requests(self) -> list[dict[str, Any]]:
        """Return the sandbox's own record of the requests that it got."""
        with urllib.request.urlopen(f"{self.api_url}/sandbox/requests") as answer:
            return [json.loads(line) for line in answer.read().decode().splitlines()]


def free_ports(number: int) -> list[int]:
    """Return ports of the loopback interface that nobody has now."""
    probes = [socket.create_server((_HOST, 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def sandbox(folder: Path, stores: Sequence[str], time_scale: float = 200.0) -> Iterator[Services]:
    """Run a sandbox; its log lies in the folder.

    :raises Broken: it does not start.
    """
    port, aws_port = free_ports(2)
    config = folder / "sandbox.yaml"
    # JSON is YAML.
    config.write_text(json.dumps({"time_scale": time_scale, "retailers": {"bench": list(stores)}}), encoding="utf-8")
    command = [sys.executable, "-m", "catalog_sandbox", "--host", _HOST, "--port", str(port)]
    command += ["--aws-port", str(aws_port), "--config", str(config)]
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=log)
    try:
        services = Services(f"http://{_HOST}:{port}", f"http://{_HOST}:{aws_port}")
        _wait(services, process, folder / "sandbox.log")
        yield services
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def environment() -> dict[str, str]:
    """Return what our own processes are started with."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'include'}:{ROOT}", "NO_PROXY": _HOST, "no_proxy": _HOST}


def _wait(services: Services, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(f"{services.api_url}/sandbox/health").close()
            return
        except OSError:
            time.sleep(0.1)
    raise Broken(f"the sandbox does not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
