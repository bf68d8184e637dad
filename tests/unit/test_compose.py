"""The compose deployment: everything it names exists, nothing in it is a secret, and every service is looked after."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog_sync.settings import load as load_settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
#: Services that run once and end.
ONCE = {"db-init", "sandbox-init"}


def declared() -> dict[str, str]:
    """The variables of .env.example, those that are commented out too, with their last value."""
    return dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE, flags=re.MULTILINE))


def used() -> set[str]:
    """The variables that docker-compose.yaml takes from the environment."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", TEXT))


def airflow_services() -> list[str]:
    """The services that run a part of Airflow."""
    return [name for name, service in SERVICES.items() if "AIRFLOW__CORE__EXECUTOR" in service.get("environment", {})]


def test_every_part_of_a_deployment_is_there() -> None:
    """Database, broker, every Airflow component, the workers, the sandbox and the monitoring are services."""
    parts = {"postgres", "redis", "db-init", "api-server", "scheduler", "dag-processor", "triggerer", "worker"}
    profiles = {"sandbox": "sandbox", "sandbox-init": "sandbox"}
    profiles |= dict.fromkeys(("statsd-exporter", "prometheus", "grafana"), "monitoring")
    assert set(SERVICES) == parts | set(profiles)
    assert {name: one for name, service in SERVICES.items() for one in service.get("profiles", [])} == profiles


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_looked_after(name: str) -> None:
    """A service has a health check, is started again when it fails, gains no privileges, and is not root."""
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == ("on-failure:3" if name in ONCE else "unless-stopped")
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["user"] not in ("", "root", "0")
    assert not service["user"].startswith(("0:", "root:"))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_exists(name: str) -> None:
    """Its volumes are declared, its folders and files are in the repository, and what it waits for is a service."""
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")
        assert other in SERVICES
    if "build" in service:
        assert (ROOT / service["build"] / "Dockerfile").is_file()


def test_paths_inside_the_containers_exist() -> None:
    """Every path below /opt/airflow that is named is in the repository or made by the image."""
    made = {"/opt/airflow/logs", "/opt/airflow/auth", "/opt/airflow/auth/passwords.json"}
    named = set(re.findall(r"/opt/airflow/[\w./-]*\w", TEXT + EXAMPLE)) - made
    assert named
    for path in named:
        assert (ROOT / path.removeprefix("/opt/airflow/")).exists(), path


def test_modules_that_are_started_exist() -> None:
    """What `python -m` starts is a module of this project."""
    entrypoints = [service["entrypoint"] for service in SERVICES.values() if "entrypoint" in service]
    started = [entrypoint[2] for entrypoint in entrypoints if entrypoint[0] == "python"]
    assert started == ["catalog_sandbox", "catalog_local.deploy"]
    for module in started:
        path = ROOT / "include" / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_addresses_name_services() -> None:
    """Every host in an address, of the compose file and of the example's sandbox lines, is a service."""
    hosts = set(re.findall(r"(?:http://|@)([a-z-]+)[:/]", TEXT)) | set(re.findall(r"http://([a-z-]+):80", EXAMPLE))
    assert hosts - {"localhost"} == {"api-server", "postgres", "redis", "sandbox"}


def test_every_variable_is_in_the_example_and_back() -> None:
    """.env.example documents each variable that is used, and has none that nothing uses."""
    assert used() <= set(declared())
    # These reach the containers through env_file.
    traces = {"AIRFLOW__TRACES__OTEL_ON", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    traces.add("AIRFLOW__OPENLINEAGE__TRANSPORT")
    connections = {f"AIRFLOW_CONN_{name}" for name in ("ERP", "SMTP_DEFAULT", "SLACK_DEFAULT", "HEARTBEAT")}
    assert set(declared()) - used() == connections | traces


def test_defaults_are_the_documented_ones() -> None:
    """A variable that is commented out in the example shows the default of the compose file."""
    for name, default in re.findall(r"\$\{([A-Z0-9_]+):-([^}]+)\}", TEXT):
        assert declared()[name] == default, name


def test_secrets_come_from_the_environment_only() -> None:
    """Each secret must be given, has no default, and is empty in the example; .env itself is not committed."""
    secrets = ("AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")
    for name in secrets:
        references = re.findall(r"\$\{" + name + r"([^}]*)\}", TEXT)
        assert references
        assert set(references) == {":?see .env.example"}
        assert declared()[name] == ""
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|FERNET|_KEY$", key):
                assert value.startswith("${"), key
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[ignored.index("*") :]
    assert "!.env" not in ignored


def test_grafana_has_no_password_that_everybody_knows() -> None:
    """Without one it does not start; other people's images are pinned to a version."""
    grafana = SERVICES["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_PASSWORD:-}"
    assert declared()["GRAFANA_PASSWORD"] == ""
    for given, status in (("", 1), ("x", 0)):
        command = grafana["entrypoint"][-1].replace("$$", "$").replace("exec /run.sh", "true")
        done = subprocess.run(["sh", "-c", command], env={"GF_SECURITY_ADMIN_PASSWORD": given}, capture_output=True)
        assert done.returncode == status
    for name, service in SERVICES.items():
        assert re.search(r":(local\}|v?\d+\.\d+\.\d+|\d+(\.\d+)?-bookworm)$", service["image"]), name


def test_workers_can_be_scaled() -> None:
    """A worker has no name and no port of the host, so any number fits."""
    worker = SERVICES["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker
    assert worker["environment"]["DUMB_INIT_SETSID"] == "0"


def test_the_parts_agree() -> None:
    """Every part of Airflow has the same settings, Celery with psycopg2 named, and the pool that uploads need."""
    for name in airflow_services():
        ours = {k: v for k, v in SERVICES[name]["environment"].items() if k != "DUMB_INIT_SETSID"}
        assert ours == COMPOSE["x-airflow"]["environment"], name
    shared = COMPOSE["x-airflow"]["environment"]
    assert shared["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert shared["AIRFLOW__CELERY__RESULT_BACKEND"].startswith("db+postgresql+psycopg2://")
    assert shared["PYTHONPATH"] == "/opt/airflow/include"
    assert "airflow pools set catalog_api" in SERVICES["db-init"]["command"][-1]
    assert len(airflow_services()) == 6


def test_ports_of_the_host_are_on_loopback() -> None:
    """Nothing is reachable from outside unless somebody puts a proxy before it."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_is_what_the_requirements_pin() -> None:
    """The base image has the Airflow that requirements.txt pins, and Celery is one that its provider works with."""
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (airflow,) = re.findall(r"^apache-airflow==([\d.]+)", pins, flags=re.MULTILINE)
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM apache/airflow:{airflow}-python3.12\n" in dockerfile
    (celery,) = re.findall(r"^celery==(\d+)\.(\d+)", pins, flags=re.MULTILINE)
    assert tuple(map(int, celery)) < (5, 7)
    for copied in re.findall(r"^COPY --chown=airflow:0 (\S+) ", dockerfile, flags=re.MULTILINE):
        assert (ROOT / copied).exists()
        assert f"!{copied}" in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


def test_connections_of_the_example_are_json() -> None:
    """Every connection in the example is JSON, those to Amazon with the region that requests are signed for."""
    found = re.findall(r"^(?:# )?AIRFLOW_CONN_(\w+)='(.*)'$", EXAMPLE, flags=re.MULTILINE)
    assert all(json.loads(text)["conn_type"] for _, text in found)
    signed = [
        json.loads(text)["extra"]["region_name"] for name, text in found if name in ("CATALOG_API", "AWS_DEFAULT")
    ]
    assert len(signed) == 4


def test_the_sandbox_and_its_deployment_agree() -> None:
    """The configurations of the sandbox profile are valid and name the same stores, bucket, queue and topic."""
    from catalog_sandbox.config import load

    sandbox = load(ROOT / "include/docker/sandbox.yaml")
    settings = load_settings(ROOT / "include/docker/catalog.yaml")
    assert list(sandbox.retailers[settings.retailer]) == ["SEA-001", "PDX-001"]
    assert settings.results.topic_arn == sandbox.topic_arn
    parameters = dict(p.split("=", 1) for p in SERVICES["sandbox-init"]["command"] if not p.startswith("--"))
    assert parameters["TopicArn"] == sandbox.topic_arn
    assert settings.lake == f"s3://{parameters['BucketName']}/jwo"
    assert parameters["RetailerName"] == settings.retailer
