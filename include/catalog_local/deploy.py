"""The command ``python -m catalog_local.deploy``: deploy the CloudFormation template and print the stack's outputs.

Credentials, region and endpoint are boto3's own (``AWS_PROFILE``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` …). With
``--subscribe`` the sandbox then delivers its notices to the queue; at Amazon the portal does that.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

import httpx

from catalog_local.stack import STACK, deploy
from catalog_sync.aws import Aws
from catalog_sync.errors import CatalogSyncError

TEMPLATE = Path(__file__).parents[1] / "cloudformation" / "catalog-sync.yaml"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m catalog_local.deploy", description="Deploys the stack.")
    parser.add_argument("parameters", nargs="+", metavar="NAME=VALUE", help="a parameter of the template")
    parser.add_argument("--stack", default=STACK, help=f"the stack's name (default {STACK})")
    parser.add_argument("--template", type=Path, default=TEMPLATE)
    parser.add_argument("--subscribe", metavar="URL", help="the sandbox whose notices the queue is to receive")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Deploy and print the outputs as JSON. Returns 1 when it cannot be done, 2 for a mistake in the arguments."""
    parser = _arguments()
    arguments = parser.parse_args(argv)
    parameters = dict(pair.partition("=")[::2] for pair in arguments.parameters)
    if wrong := [pair for pair in arguments.parameters if "=" not in pair]:
        parser.error(f"{wrong[0]!r}: must be NAME=VALUE")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        account = Aws.of(region, endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))
        outputs = deploy(arguments.template, account, parameters, name=arguments.stack)
        if arguments.subscribe:
            answer = httpx.post(f"{arguments.subscribe}/sandbox/subscribe", json={"queueArn": outputs["QueueArn"]})
            answer.raise_for_status()
    except (CatalogSyncError, httpx.HTTPError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(outputs, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
