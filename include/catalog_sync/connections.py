"""Connections: where secrets live. The domain asks for one by its id; Airflow or the environment answers.

Outside Airflow a connection is read from ``AIRFLOW_CONN_<ID>``, as JSON or as a URI, just as Airflow itself reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from catalog_sync.errors import Misconfigured

if TYPE_CHECKING:
    from catalog_sync.aws import Aws


@dataclass(frozen=True)
class Connection:
    """One connection. ``repr`` shows neither password nor extra."""

    conn_id: str
    conn_type: str = ""
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def base_url(self) -> str:
        """The connection as a base URL without a trailing slash; ``host`` may itself be one, with a stage path."""
        if "://" in self.host:
            return self.host.rstrip("/")
        port = f":{self.port}" if self.port else ""
        return f"{self.schema or 'https'}://{self.host}{port}".rstrip("/")


class Connections(Protocol):
    """Where the domain gets connections from."""

    def get(self, conn_id: str) -> Connection:
        """Return the connection, or raise ``Misconfigured`` when there is none."""

    def dbapi(self, conn_id: str) -> AbstractContextManager[Any]:
        """Return an open PEP 249 connection that is closed on exit."""

    def aws(self, conn_id: str, region: str) -> Aws:
        """Return the AWS account that the connection leads to."""


class EnvironmentConnections:
    """Connections from ``AIRFLOW_CONN_<ID>`` variables, for the command line.

    :param environ: the variables, by default the process's own.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, conn_id: str) -> Connection:
        """Return the connection, or raise ``Misconfigured`` when its variable is absent or unreadable."""
        name = f"AIRFLOW_CONN_{conn_id.upper()}"
        value = self._environ.get(name)
        if value is None:
            raise Misconfigured(f"connection {conn_id!r}: set the variable {name} (JSON or URI, as Airflow reads it)")
        try:
            return _from_json(conn_id, value) if value.lstrip().startswith("{") else _from_uri(conn_id, value)
        except (ValueError, TypeError) as error:
            # Not chained: the text of the original error may quote the secret.
            raise Misconfigured(
                f"connection {conn_id!r}: {name} is neither JSON nor a URI: {type(error).__name__}"
            ) from None

    def dbapi(self, conn_id: str) -> AbstractContextManager[Any]:
        """Return an open PEP 249 connection through SQLAlchemy's dialect for the connection's type."""
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        engine = create_engine(_sqlalchemy_url(self.get(conn_id)), poolclass=NullPool)
        try:
            return closing(engine.raw_connection())
        except Exception as error:
            raise Misconfigured(f"connection {conn_id!r}: cannot connect: {type(error).__name__}") from None

    def aws(self, conn_id: str, region: str) -> Aws:
        """Return the AWS account of the connection; without its variable boto3's own credential chain is used."""
        from catalog_sync.aws import Aws

        if f"AIRFLOW_CONN_{conn_id.upper()}" not in self._environ:
            return Aws.of(region=region)
        connection = self.get(conn_id)
        extra = connection.extra
        return Aws.of(
            region=str(extra.get("region_name") or region),
            access_key=connection.login or None,
            secret_key=connection.password or None,
            session_token=extra.get("aws_session_token"),
            endpoint_url=extra.get("endpoint_url"),
            role_arn=extra.get("role_arn"),
            external_id=extra.get("external_id"),
        )


def _from_json(conn_id: str, value: str) -> Connection:
    raw = json.loads(value)
    extra = raw.get("extra") or {}
    return Connection(
        conn_id=conn_id,
        conn_type=raw.get("conn_type") or "",
        host=raw.get("host") or "",
        port=int(raw["port"]) if raw.get("port") else None,
        login=raw.get("login") or "",
        password=raw.get("password") or "",
        schema=raw.get("schema") or "",
        extra=json.loads(extra) if isinstance(extra, str) else extra,
    )


def _from_uri(conn_id: str, value: str) -> Connection:
    parts = urlsplit(value)
    if not parts.scheme:
        raise ValueError("no scheme")
    query = dict(parse_qsl(parts.query))
    extra = json.loads(query.pop("__extra__")) if "__extra__" in query else query
    return Connection(
        conn_id=conn_id,
        conn_type=parts.scheme,
        host=unquote(parts.hostname or ""),
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path.lstrip("/")),
        extra=extra,
    )


def _sqlalchemy_url(connection: Connection) -> str:
    if connection.conn_type == "sqlite":
        return f"sqlite:///{connection.host or connection.schema}"
    drivers = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2"}
    scheme = drivers.get(connection.conn_type, connection.conn_type)
    login = quote(connection.login, safe="") + (
        f":{quote(connection.password, safe='')}" if connection.password else ""
    )
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{login}{'@' if login else ''}{connection.host}{port}/{connection.schema}"
