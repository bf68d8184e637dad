"""The status API (``get_catalog_upload_status``) and the report's link (``sample_store_app_entry``)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.credentials import Credentials


def test_both_keys_always(world, item):
    """The answer has processingStatus and reportDownloadLink, both strings; the link is empty before the end (U10)."""
    response = world.upload(item())
    assert world.status(response) == {"processingStatus": "INQUEUE", "reportDownloadLink": ""}


def test_an_unknown_id_is_a_400(world):
    """An id that is not associated with the caller's retailers is a 400, not a 404."""
    response = world.post("getCatalogUploadStatus", {"ingestionId": "nobody"})
    assert response.status_code == 400
    assert response.json()["errorMsg"].startswith("InvalidRequestException")


def test_the_id_of_another_retailer_is_unknown(make_world, item):
    """An ingestion of one retailer cannot be asked for by another's account."""
    mine, theirs = Credentials("AKIAMINE", "a"), Credentials("AKIATHEIRS", "b")
    world = make_world(
        accounts={
            "111111111111": {"retailers": ["acme"], "keys": {"AKIAMINE": "a"}},
            "222222222222": {"retailers": ["globex"], "keys": {"AKIATHEIRS": "b"}},
        }
    )
    accepted = world.post("upload", {"catalogItems": [item()]}, world.client_with(mine)).json()
    assert world.post("getCatalogUploadStatus", accepted, world.client_with(mine)).status_code == 200
    assert world.post("getCatalogUploadStatus", accepted, world.client_with(theirs)).status_code == 400


@pytest.mark.parametrize("body", [{}, [], {"ingestionId": 7}, {"ingestionId": ""}, {"ingestionId": "x" * 256}, b"{"])
def test_a_request_that_does_not_fit_the_model(world, body):
    """A request without an id of 1 to 255 characters is a 400 BadRequestException."""
    response = world.post("getCatalogUploadStatus", body)
    assert response.status_code == 400
    assert response.json()["errorMsg"].startswith("BadRequestException")


def test_an_old_ingestion_is_still_known(world, item):
    """U27: there is no end to the time in which an ingestion can be asked for."""
    response = world.upload(item())
    world.run(365 * 86400)
    assert world.status(response)["processingStatus"] == "DONE"


def link_of(world, item):
    response = world.upload(item())
    world.run()
    return response, world.status(response)["reportDownloadLink"]


def test_the_link_looks_presigned_and_gives_the_report(world, item):
    """The link is a presigned URL of 3,600 seconds; it needs no signature of the caller."""
    response, link = link_of(world, item)
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Expires"] == ["3600"]
    assert {"X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Signature"} <= set(query)
    report = world.client.get(link, auth=None)
    assert report.status_code == 200
    assert report.json()["ingestionId"] == response.json()["ingestionId"]


def test_the_link_expires_after_60_minutes(world, item):
    """Before 60 minutes the link works; then it is a 403 with S3's XML "Request has expired"."""
    _, link = link_of(world, item)
    world.run(3599)
    assert world.client.get(link, auth=None).status_code == 200
    world.run(1)
    expired = world.client.get(link, auth=None)
    assert expired.status_code == 403
    assert expired.headers["content-type"].startswith("application/xml")
    error = ET.fromstring(expired.text)
    assert error.findtext("Code") == "AccessDenied"
    assert error.findtext("Message") == "Request has expired"
    assert error.findtext("X-Amz-Expires") == "3600"
    assert all(error.findtext(key) for key in ("Expires", "ServerTime", "RequestId", "HostId"))


def test_link_life_is_scaled(make_world, item):
    """The link's life is Amazon's time: at 60 times its speed it is a minute."""
    world = make_world(time_scale=60)
    _, link = link_of(world, item)
    world.run(59)
    assert world.client.get(link, auth=None).status_code == 200
    world.run(1)
    assert world.client.get(link, auth=None).status_code == 403


def test_a_status_call_gives_a_fresh_link(world, item):
    """U11: after an hour a new status call gives a link that works."""
    response, link = link_of(world, item)
    world.run(4000)
    fresh = world.status(response)["reportDownloadLink"]
    assert fresh != link
    assert world.client.get(fresh, auth=None).status_code == 200


def test_a_forged_link_is_refused(world, item):
    """A link with another id or a later time is a 403 SignatureDoesNotMatch."""
    _, link = link_of(world, item)
    other = httpx.URL(link).copy_set_param("X-Issued", str(world.now + 10))
    for forged in (str(other), link.replace(".json", "0.json")):
        answer = world.client.get(forged, auth=None)
        assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)


def test_every_fetch_gives_the_same_bytes(world, item):
    """A report does not change between two downloads."""
    _, link = link_of(world, item)
    assert world.client.get(link, auth=None).content == world.client.get(link, auth=None).content
