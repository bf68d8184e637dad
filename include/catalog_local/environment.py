"""The environment of the local deployment's processes, in one place: Airflow's settings, connections, secrets.

Secrets are passed in the environment and never on a command line, which every user of the machine can read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from catalog_local.ports import HOST, Ports
from catalog_local.state import USER, State
from catalog_sync.settings import DEFAULT_CONFIG

#: The checkout: the folder that holds ``dags``, ``plugins`` and ``include``.
CHECKOUT = Path(__file__).resolve().parents[2]

#: The sandbox's own account and key; public, and of use nowhere else (docs/sandbox.md).
REGION = "us-east-1"
_KEY, _SECRET = "AKIASANDBOX0000000001", "sandbox-secret"
ROLE = "arn:aws:iam::123456789012:role/CatalogApiCaller"

#: What Airflow's processes load, and keep as it was when they started.
WATCHED = ("dags", "plugins", "include/catalog_sync", "include/config", "include/sql")

#: LocalExecutor starts all of these at once, about 150 MiB each (mostly shared).
PARALLELISM = 8


def airflow_environment(
    state: State,
    ports: Ports,
    base: Mapping[str, str],
    *,
    config: Path = DEFAULT_CONFIG,
    sandbox: bool = True,
    executor: str = "LocalExecutor",
    database: str | None = None,
) -> dict[str, str]:
    """Return the environment for every process of Airflow, and for commands beside it.

    :param base: the environment to build upon, such as ``os.environ``.
    :param config: the catalog's configuration file.
    :param sandbox: whether the connections lead to the sandbox; if not, they are those that ``base`` has.
    :param database: SQLAlchemy URL of the metadata database; SQLite in the state folder when not given.
    """
    secrets = state.secrets()
    url = f"http://{HOST}:{ports.ui}"
    ours = {
        "AIRFLOW_HOME": str(state.airflow_home),
        "PYTHONPATH": str(CHECKOUT / "include"),
        "PYTHONUNBUFFERED": "1",
        "CATALOG_CONFIG": str(config),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": executor,
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(state.passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{state.airflow_home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(state.airflow_home / "logs"),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(ports.ui),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.session_key,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt_secret,
        # The setting that counts for the time between two tasks: 1.05 s a hop by default, 0.55 s with this.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        # How long the end of a task goes unnoticed when it ends between two looks: one task in 25 took 5 s longer.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        # Nothing of a local deployment goes through a proxy, or to anybody else.
        "NO_PROXY": f"{HOST},localhost",
        "no_proxy": f"{HOST},localhost",
        "SCARF_ANALYTICS": "false",
        "DO_NOT_TRACK": "1",
    }
    return {**base, **ours, **(sandbox_connections(state, ports) if sandbox else {})}


def sandbox_connections(state: State, ports: Ports) -> dict[str, str]:
    """Return the connections that lead to the sandbox and to the sample data, as Airflow's variables."""
    connections = {
        "catalog_api": {
            "conn_type": "http",
            "host": f"http://{HOST}:{ports.sandbox}",
            "extra": {"region_name": REGION, "role_arn": ROLE},
        },
        "aws_default": {
            "conn_type": "aws",
            "login": _KEY,
            "password": _SECRET,
            "extra": {"region_name": REGION, "endpoint_url": f"http://{HOST}:{ports.aws}"},
        },
        "erp": {"conn_type": "sqlite", "host": str(state.sample / "erp.sqlite")},
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}


def fingerprint(environment: Mapping[str, str]) -> str:
    """Return what tells two starts apart: the settings, and the code and configuration that the processes load."""
    digest = hashlib.sha256()
    for name in sorted(environment):
        if name.startswith(("AIRFLOW", "CATALOG_", "PYTHONPATH")):
            digest.update(f"{name}={environment[name]}\n".encode())
    files = (path for folder in WATCHED for path in (CHECKOUT / folder).rglob("*"))
    for path in sorted(path for path in files if path.suffix in {".py", ".yaml", ".csv", ".sql"}):
        found = path.stat()
        digest.update(f"{path}:{found.st_mtime_ns}:{found.st_size}\n".encode())
    return digest.hexdigest()
