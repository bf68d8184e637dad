"""Signature Version 4 and the allowlist: who may call (``catalog_api_invoke``, ``catalog_faq``)."""

from __future__ import annotations

import boto3
import httpx
import pytest
from botocore.credentials import Credentials
from moto import mock_aws
from moto.sts.models import sts_backends

KEY, SECRET = "AKIASANDBOX0000000001", "sandbox-secret"


def refusal(world, item, client=None):
    """Return the text of a 403 in the gateway's style (U2); nothing was accepted."""
    response = world.post("upload", {"catalogItems": [item()]}, client)
    assert response.status_code == 403
    assert list(response.json()) == ["message"]
    assert world.core.records() == []
    return response.json()["message"]


@pytest.fixture
def assume(monkeypatch):
    """Return a function that assumes a role at the local STS and returns the session's credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    def credentials(role="CatalogApiCaller", account="123456789012"):
        sts = boto3.client("sts", region_name="us-east-1")
        arn = f"arn:aws:iam::{account}:role/{role}"
        session = sts.assume_role(RoleArn=arn, RoleSessionName="CatalogAPI", DurationSeconds=900)["Credentials"]
        return Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])

    with mock_aws():
        yield credentials


def test_an_assumed_role_may_call(world, item, assume):
    """A session of the allowlisted role, with its token, is accepted (catalog_api_invoke)."""
    client = world.client_with(assume())
    assert world.post("upload", {"catalogItems": [item()]}, client).status_code == 201


def test_a_static_key_may_call(world, item):
    """The configured key is accepted (catalog_api_get_status signs with the caller's own credentials)."""
    assert world.upload(item()).status_code == 201


def test_another_role_is_not_authorized(world, item, assume):
    """A role that may not invoke the API is a 403 (catalog_faq)."""
    assert "is not authorized to perform: execute-api:Invoke" in refusal(
        world, item, world.client_with(assume("Other"))
    )


def test_another_account_is_not_allowlisted(world, item, assume):
    """An account that was not onboarded is a 403 (catalog_faq), whatever its role is called."""
    client = world.client_with(assume(account="999999999999"))
    assert "is not authorized" in refusal(world, item, client)


def test_a_wrong_secret(world, item):
    """A signature with another secret does not match."""
    assert "signature we calculated does not match" in refusal(
        world, item, world.client_with(Credentials(KEY, "other"))
    )


def test_an_unknown_key(world, item, assume):
    """An access key that nobody has is invalid."""
    client = world.client_with(Credentials("AKIANOBODY", SECRET))
    assert refusal(world, item, client) == "The security token included in the request is invalid."


def test_a_session_needs_its_token(world, item, assume):
    """A session's key without its token, or with another one, is invalid."""
    session = assume()
    for token in (None, "other"):
        client = world.client_with(Credentials(session.access_key, session.secret_key, token))
        assert refusal(world, item, client) == "The security token included in the request is invalid."


def test_an_expired_session(world, item, assume, monkeypatch):
    """A session that has ended is a 403, even when the request is fresh."""
    client = world.client_with(assume())
    assert world.post("upload", {"catalogItems": [item()]}, client).status_code == 201
    role = sts_backends["123456789012"]["aws"].assumed_roles[-1]
    monkeypatch.setattr(role, "expiration", role.expiration.replace(year=2020))
    response = world.post("getCatalogUploadStatus", {"ingestionId": "x"}, client)
    assert response.json() == {"message": "The security token included in the request is expired"}


def test_another_region(world, item):
    """U1: a signature for another region than the API's is refused."""
    client = world.client_with(Credentials(KEY, SECRET), region="eu-west-1")
    assert "valid region, not 'eu-west-1'" in refusal(world, item, client)


def test_another_service(world, item):
    """The service name in the signature is execute-api."""
    client = world.client_with(Credentials(KEY, SECRET), service="s3")
    assert "'execute-api'" in refusal(world, item, client)


@pytest.mark.parametrize(("shift", "text"), [(16 * 60, "Signature expired"), (-16 * 60, "not yet current")])
def test_a_clock_that_is_off(world, item, shift, text):
    """A request whose time is more than 15 minutes off is refused; 14 minutes are not too much."""
    world.wall += shift
    assert text in refusal(world, item)
    world.wall -= shift / 8
    assert world.upload(item()).status_code == 201


def test_no_signature(world, item):
    """An unsigned request has no authentication token."""
    client = httpx.Client(transport=world.client._transport, base_url="http://sandbox.test")
    assert refusal(world, item, client) == "Missing Authentication Token"


@pytest.mark.parametrize("change", ["body", "path", "query", "host"])
def test_a_signature_covers_the_request(world, item, change):
    """A signed request that is changed on its way is refused."""
    request = world.client.build_request("POST", "/v1/catalog/upload", json={"catalogItems": [item()]})
    signed = next(world.client.auth.auth_flow(request))
    url, content, headers = signed.url, signed.content, dict(signed.headers)
    if change == "body":
        content = content.replace(b"9.99", b"0.01")
        headers["content-length"] = str(len(content))
    elif change == "path":
        url = url.copy_with(path="/v1/catalog/archive")
    elif change == "query":
        url = url.copy_with(query=b"a=1")
    else:
        headers["host"] = "elsewhere.test"
    response = httpx.Client(transport=world.client._transport).request("POST", url, content=content, headers=headers)
    assert "does not match" in response.json()["message"]


def test_a_query_is_signed_canonically(world):
    """Parameters that need encoding and sorting are verified as botocore signs them."""
    response = world.client.post("/v1/catalog/getCatalogUploadStatus?b=2&a=%C3%A9%20x&a=1", json={"ingestionId": "x"})
    assert response.status_code == 400
