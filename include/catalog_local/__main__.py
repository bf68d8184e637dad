"""``python -m catalog_local run|stop|status|clean``: what the Makefile calls."""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console
from rich.text import Text

from catalog_local.errors import LocalError
from catalog_local.launcher import Deployment, locked
from catalog_sync.errors import CatalogSyncError


def main() -> int:
    """Do what is asked. Returns 1 when the run failed or a process is dead, 2 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m catalog_local", description="The project on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything and run the nightly sync")
    commands.add_parser("start", help="start everything")
    commands.add_parser("stop", help="stop everything")
    commands.add_parser("status", help="show which processes live")
    commands.add_parser("clean", help="stop everything and remove its state")
    command = parser.parse_args().command
    console = Console()
    deployment = Deployment.of(os.environ, console)
    try:
        if command == "status":
            return 0 if deployment.status() else 1
        with locked(deployment.state):
            return _do(command, deployment)
    except (LocalError, CatalogSyncError) as error:
        console.print("[red]error:[/]", Text(str(error)), highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("\nInterrupted. What was started is still there; make stop ends it.")
        return 130


def _do(command: str, deployment: Deployment) -> int:
    if command in ("stop", "clean"):
        deployment.stop() if command == "stop" else deployment.clean()
        return 0
    deployment.start()
    succeeded = deployment.sync() if command == "run" else True
    deployment.announce()
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
