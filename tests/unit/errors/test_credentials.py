"""Credentials that end in mid-run: renewed where they can be, and told of where they cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from moto import mock_aws
from moto.sts.models import sts_backends
from tests.unit.errors.retailer import Retailer, both_stores, sent_side

from catalog_sandbox.config import DEFAULT_ACCOUNT, DEFAULT_KEY, DEFAULT_SECRET
from catalog_sync.api.client import CatalogApi
from catalog_sync.api.outcomes import Verdict
from catalog_sync.breaker import Breaker
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import Misconfigured
from catalog_sync.tickets import Tickets

ROLE = f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/CatalogApiCaller"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS's STS in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


class Environment(dict[str, str]):
    """Connections as they are now."""

    def api(self, **changes: Any) -> None:
        """Set the connection of the API."""
        made = {"conn_type": "http", "host": "https://amazon.test", "extra": {"region_name": "us-east-1"}, **changes}
        self["AIRFLOW_CONN_CATALOG_API"] = json.dumps(made)


def client(retailer: Retailer, environ: Environment) -> CatalogApi:
    """The client that the connections make."""
    run, world = retailer.run(), retailer.world
    tickets = Tickets(world.table, "Ledger", world.clock)
    connections = EnvironmentConnections(environ)
    return CatalogApi.from_connection(run.settings, connections, world.clock, tickets, Breaker.of(run), world.wire)


def sessions() -> list[Any]:
    """The sessions of the role, as STS gave them out."""
    return list(sts_backends[DEFAULT_ACCOUNT]["aws"].assumed_roles)


def expire(retailer: Retailer) -> None:
    """End every session as of now."""
    for session in sessions():
        session.expiration = datetime.fromtimestamp(retailer.world.clock.now - 1, UTC).replace(tzinfo=None)


def test_a_session_that_ends_in_mid_run_is_renewed(retailer: Retailer, aws: None) -> None:
    """The request that met the old session is made again, signed with a new one; the books are complete."""
    retailer.configure(api={"max_items": 4})
    retailer.plan(both_stores())
    environ = Environment()
    environ.api(extra={"region_name": "us-east-1", "role_arn": ROLE})
    api, world = client(retailer, environ), retailer.world
    carry = world.wire.handle_request

    def and_then_expire(request: Any) -> Any:
        answer = carry(request)
        if len(retailer.requests()) == 1:
            expire(retailer)
        return answer

    world.wire.handle_request = and_then_expire  # type: ignore[method-assign]
    assert retailer.send(api) == []
    assert [entry.status for entry in retailer.requests()] == [201, 403, 201]
    assert retailer.seen() == ["ACCEPTED", "REJECTED RETRY_LATER", "ACCEPTED"]
    assert len(sessions()) == 2
    assert sent_side(retailer.finish()) == {"acknowledged": 8}


def test_a_session_that_is_never_good_enough_stops_sending(retailer: Retailer, aws: None) -> None:
    """When the renewed credentials are refused as well, it is a matter for a person, who is told what to look at."""
    retailer.plan(both_stores())
    environ = Environment()
    environ.api(extra={"region_name": "us-east-1", "role_arn": ROLE})
    carry = retailer.world.wire.handle_request

    def expired(request: Any) -> Any:
        expire(retailer)
        return carry(request)

    retailer.world.wire.handle_request = expired  # type: ignore[method-assign]
    (error,) = retailer.send(client(retailer, environ))
    assert isinstance(error, Misconfigured)
    assert "the credentials: they have expired; renew them or use role_arn" in str(error)
    assert [entry.status for entry in retailer.requests()] == [403, 403]
    assert len(sessions()) == 2


def test_keys_that_were_rotated_are_read_anew(retailer: Retailer, aws: None) -> None:
    """Session keys in the connection itself: a secrets backend may have newer ones by then."""
    retailer.plan(both_stores())
    environ = Environment()
    sts = sts_backends[DEFAULT_ACCOUNT]["aws"]

    def put_new_keys() -> None:
        made = sts.assume_role("us-east-1", "x", ROLE, "", 3600, "")
        extra = {"region_name": "us-east-1", "aws_session_token": made.session_token}
        environ.api(login=made.access_key_id, password=made.secret_access_key, extra=extra)

    put_new_keys()
    api = client(retailer, environ)
    expire(retailer)
    put_new_keys()
    assert retailer.send(api) == []
    assert retailer.seen() == ["REJECTED RETRY_LATER", "ACCEPTED"]


def test_keys_that_do_not_change_are_tried_once_more_and_no_more(retailer: Retailer, aws: None) -> None:
    """Static session keys that have expired cost one request more, then sending stops."""
    retailer.plan(both_stores())
    environ = Environment()
    made = sts_backends[DEFAULT_ACCOUNT]["aws"].assume_role("us-east-1", "x", ROLE, "", 3600, "")
    extra = {"region_name": "us-east-1", "aws_session_token": made.session_token}
    environ.api(login=made.access_key_id, password=made.secret_access_key, extra=extra)
    expire(retailer)
    (error,) = retailer.send(client(retailer, environ))
    assert isinstance(error, Misconfigured)
    assert [entry.status for entry in retailer.requests()] == [403, 403]


def test_a_connection_that_is_gone_when_it_is_read_anew_is_no_crash(retailer: Retailer, aws: None) -> None:
    """The 403 is what counts then, and it says what to look at."""
    retailer.plan(both_stores())
    environ = Environment()
    environ.api(extra={"region_name": "us-east-1", "role_arn": ROLE})
    api = client(retailer, environ)
    assert api.status("x").http_status == 400
    expire(retailer)
    environ.clear()
    (error,) = retailer.send(api)
    assert isinstance(error, Misconfigured)
    assert "they have expired" in str(error)


def test_a_status_call_renews_them_too(retailer: Retailer, aws: None) -> None:
    """The poll that met the old session is made again when it is due next."""
    environ = Environment()
    environ.api(extra={"region_name": "us-east-1", "role_arn": ROLE})
    api = client(retailer, environ)
    heard = [api.status("x").verdict]
    expire(retailer)
    heard += [api.status("x").verdict for _ in range(2)]
    assert heard == [Verdict.UNKNOWN_INGESTION, Verdict.RETRY_LATER, Verdict.UNKNOWN_INGESTION]


def test_a_role_that_is_not_allowlisted_is_named(retailer: Retailer, aws: None) -> None:
    """The session is good and may not call: the permission and the role are what to look at; nothing is renewed."""
    retailer.plan(both_stores())
    environ = Environment()
    environ.api(extra={"region_name": "us-east-1", "role_arn": ROLE.replace("CatalogApiCaller", "SomebodyElse")})
    (error,) = retailer.send(client(retailer, environ))
    assert isinstance(error, Misconfigured)
    assert "the role needs execute-api:Invoke" in str(error)
    assert len(sessions()) == 1


def test_static_keys_work_as_ever(retailer: Retailer) -> None:
    """No session, nothing to renew."""
    retailer.plan(both_stores())
    environ = Environment()
    environ.api(login=DEFAULT_KEY, password=DEFAULT_SECRET)
    assert retailer.send(client(retailer, environ)) == []
