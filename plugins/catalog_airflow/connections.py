"""Airflow's connections, as the domain asks for them."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from catalog_sync.connections import Connection
from catalog_sync.errors import Misconfigured

if TYPE_CHECKING:
    from catalog_sync.aws import Aws


class AirflowConnections:
    """``catalog_sync.connections.Connections`` over Airflow's connections, secrets backends included."""

    def get(self, conn_id: str) -> Connection:
        """Return the connection, or raise ``Misconfigured`` when there is none."""
        found = _airflow_connection(conn_id)
        return Connection(
            conn_id=conn_id,
            conn_type=found.conn_type or "",
            host=found.host or "",
            port=found.port,
            login=found.login or "",
            password=found.password or "",
            schema=found.schema or "",
            extra=found.extra_dejson,
        )

    def dbapi(self, conn_id: str) -> AbstractContextManager[Any]:
        """Return an open PEP 249 connection of the connection's own hook, closed on exit.

        :raises Misconfigured: there is no such connection, or its type has no SQL hook.
        """
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        hook = _airflow_connection(conn_id).get_hook()
        if not isinstance(hook, DbApiHook):
            raise Misconfigured(
                f"connection {conn_id!r}: type {hook.conn_type!r} is no SQL connection, so it cannot be queried"
            )
        return closing(hook.get_conn())

    def aws(self, conn_id: str, region: str) -> Aws:
        """Return the AWS account that the connection leads to; roles and web identities are the hook's business.

        Without such a connection boto3's own credential chain is used, as Airflow does everywhere.
        """
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        from catalog_sync.aws import Aws

        hook = AwsBaseHook(aws_conn_id=conn_id)
        chosen = hook.conn_config.region_name or region
        return Aws(
            session=hook.get_session(region_name=chosen), region=chosen, endpoint_url=hook.conn_config.endpoint_url
        )


def _airflow_connection(conn_id: str) -> Any:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise Misconfigured(
            f"connection {conn_id!r}: there is none; add it in Admin → Connections, in the secrets backend, or as the "
            f"variable AIRFLOW_CONN_{conn_id.upper()}"
        ) from None
