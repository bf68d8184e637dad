"""The command ``python -m catalog_sandbox``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from catalog_sandbox.config import ConfigError, SandboxConfig, load
from catalog_sandbox.server import Sandbox


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m catalog_sandbox", description="Runs the catalog sandbox.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="of the API and the control plane (default 8090)")
    parser.add_argument("--aws-port", type=int, default=8091, help="of the AWS services (default 8091)")
    parser.add_argument("--time-scale", type=float, help="how many times as fast as at Amazon time runs")
    parser.add_argument("--seed", type=int, help="of faults and delays")
    parser.add_argument("--store", action="append", help="a store of the first retailer; repeat for each")
    parser.add_argument("--public-url", help="under which the sandbox is reached, for the links that it gives out")
    parser.add_argument("--config", type=Path, help="a YAML file")
    return parser


def _config(arguments: argparse.Namespace) -> SandboxConfig:
    config = load(arguments.config) if arguments.config else SandboxConfig()
    given = {"time_scale": arguments.time_scale, "seed": arguments.seed, "public_url": arguments.public_url}
    config = config.changed(**{key: value for key, value in given.items() if value is not None})
    return config.with_stores(arguments.store) if arguments.store else config


def main() -> int:
    """Run the sandbox until it is interrupted or terminated. Returns 2 for a mistake in the options."""
    arguments = _arguments().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = _config(arguments)
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.setswitchinterval(0.0002)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        started = Sandbox.start(config, host=arguments.host, port=arguments.port, aws_port=arguments.aws_port)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with started as sandbox:
        sys.stderr.write(f"API {sandbox.api_url}  control {sandbox.control_url}/sandbox/  AWS {sandbox.aws_url}\n")
        try:
            sandbox.wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
