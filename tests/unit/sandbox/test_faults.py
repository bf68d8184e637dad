"""Every fault does what its description says, once per line of the script, and the seed repeats itself."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import ValidationError

from catalog_sandbox.faults import FAULTS, FaultPlan, Faults

#: Status and key of the answer to each fault that answers.
ANSWERS = {
    "throttled": (429, {"errorMsg": "Too Many Requests"}),
    "forbidden": (403, {"message": "User is not authorized to access this resource"}),
    "server_error_retry": (500, {"errorMsg": "Internal server error, please retry again"}),
    "server_error_final": (500, {"errorMsg": "Internal server error"}),
    "bad_gateway": (502, {"message": "Internal server error"}),
    "unavailable": (503, {"message": "Service Unavailable"}),
    "gateway_timeout": (504, {"message": "Endpoint request timed out"}),
    "no_id": (201, {}),
}
DROPS = {"reset": httpx.ReadError, "timeout": httpx.ReadTimeout}
ACCEPTED = {"bad_gateway_after", "unavailable_after", "gateway_timeout_after", "timeout_after", "reset_after"} | {
    "no_id",
    "not_json",
}


@pytest.mark.parametrize("fault", sorted(FAULTS["request"]))
def test_request_faults(world, item, fault):
    """Each request fault answers, or drops the connection, as described, once; *_after ones accept the request."""
    world.script(fault)
    kind = fault.removesuffix("_after").removesuffix("_before")
    if kind in DROPS:
        with pytest.raises(DROPS[kind]):
            world.upload(item())
    else:
        response = world.upload(item())
        if kind == "not_json":
            assert response.status_code == 201
            with pytest.raises(json.JSONDecodeError):
                response.json()
        else:
            assert (response.status_code, response.json()) == ANSWERS[kind]
    assert len(world.core.records()) == (fault in ACCEPTED)
    assert world.upload(item()).status_code == 201
    world.run()
    assert set(world.rows()) == {("SEA-001", "TEST-001")}


def test_cases_9_and_10_differ_in_their_text(world, item):
    """Test cases 9 and 10: one 500 asks to retry, the other does not (U4)."""
    world.script("server_error_retry", "server_error_final")
    texts = [world.upload(item()).json()["errorMsg"] for _ in range(2)]
    assert ["please retry again" in text.lower() for text in texts] == [True, False]


def test_a_429_may_ask_to_wait(world, item):
    """``retry_after`` puts its seconds into the header of each throttled answer; by default there is no such header."""
    world.script("throttled", retry_after=7)
    assert world.upload(item()).headers["retry-after"] == "7"
    world.script("throttled")
    assert "retry-after" not in world.upload(item()).headers


def test_every_answer_tells_amazons_time(world, item):
    """The ``Date`` header is the real time as the API sees it, so that clocks can be compared."""
    world.wall = 1_790_000_000.0
    assert world.upload(item()).headers["date"] == "Mon, 21 Sep 2026 14:13:20 GMT"


def test_a_poisonous_sku_spoils_its_whole_upload(world, item):
    """Nothing of an upload that holds one is accepted, in whatever store; without it the rest is."""
    world.script(poison_skus=["TEST-002"])
    refused = world.upload(item(1), item(2, store_id="SEA-002"))
    assert (refused.status_code, refused.json()) == (400, {"errorMsg": "Invalid request body"})
    assert world.core.records() == []
    assert world.upload(item(1), item(3)).status_code == 201


@pytest.mark.parametrize("fault", ["throttled", "server_error_retry", "unavailable"])
def test_status_calls_fail_too(world, item, fault):
    """Request faults may strike one operation only."""
    response = world.upload(item())
    world.core.faults.replace(FaultPlan.model_validate({"script": [{"fault": fault, "operation": "status"}]}))
    assert world.upload(item(2)).status_code == 201
    body = {"ingestionId": response.json()["ingestionId"]}
    statuses = [world.post("getCatalogUploadStatus", body).status_code for _ in range(2)]
    assert statuses == [ANSWERS[fault][0], 200]


def test_a_status_answer_without_content(world, item):
    """no_id and not_json keep the operation's own status code."""
    accepted = world.upload(item()).json()
    world.script("no_id")
    response = world.post("getCatalogUploadStatus", accepted)
    assert (response.status_code, response.json()) == (200, {})


def end(world, *items, seconds=200.0):
    response = world.upload(*items)
    world.run(seconds)
    return world.status(response)["processingStatus"], {sku for _, sku in world.rows()}


def test_fatal(world, item):
    """fatal: ends FATAL and applies nothing."""
    world.script("fatal")
    assert end(world, item(1), item(2)) == ("FATAL", set())


def test_fatal_half(world, item):
    """fatal_half: ends FATAL with the first half applied (U8)."""
    world.script("fatal_half")
    assert end(world, item(1), item(2), item(3), item(4)) == ("FATAL", {"TEST-001", "TEST-002"})


def test_cancelled(world, item):
    """cancelled: ends CANCELLED and applies nothing."""
    world.script("cancelled")
    assert end(world, item(1)) == ("CANCELLED", set())


def test_stuck(world, item):
    """stuck: never ends, applies nothing, is never announced."""
    world.script("stuck")
    assert end(world, item(1), seconds=30 * 86400) == ("INPROGRESS", set())
    assert world.notices == []


def test_late(world, item):
    """late: is applied, and ends, hours later; a younger ingestion was applied before."""
    world.script("late")
    old = world.upload(item(item_name="Old"))
    world.run(3600)
    assert world.outcome(item(item_name="New")) == [""]
    assert world.status(old)["processingStatus"] == "INPROGRESS"
    world.run(5 * 3600)
    assert world.status(old)["processingStatus"] == "DONE"
    assert world.rows()["SEA-001", "TEST-001"]["item_name"] == "Old"


def test_out_of_order(world, item):
    """out_of_order: the older of two uploads is applied after the younger one, minutes later."""
    world.script("out_of_order")
    world.upload(item(item_name="Old"))
    world.upload(item(item_name="New"))
    world.run(300)
    assert world.rows()["SEA-001", "TEST-001"]["item_name"] == "New"
    world.run(600)
    assert world.rows()["SEA-001", "TEST-001"]["item_name"] == "Old"


def announced(world):
    return [notice["ingestionId"] for notice in world.notices]


def test_notice_lost(world, item):
    """notice_lost: the ingestion ends and nobody is told."""
    world.script("notice_lost")
    assert end(world, item(), seconds=86400) == ("DONE", {"TEST-001"})
    assert world.notices == []


def test_notice_late(world, item):
    """notice_late: the notice comes half an hour after the end."""
    world.script("notice_late")
    world.upload(item())
    world.run(1700)
    assert world.notices == []
    world.run(300)
    assert len(world.notices) == 1


def test_notice_repeated(world, item):
    """notice_repeated: the same message comes twice at once and a third time late."""
    world.script("notice_repeated")
    world.upload(item())
    world.run()
    assert len(world.notices) == 2
    world.run(1800)
    assert len(world.notices) == 3
    assert all(notice == world.notices[0] for notice in world.notices)


def test_notice_reordered(world, item):
    """notice_reordered: the notice goes out after that of a later end."""
    world.script("notice_reordered")
    first = world.upload(item(1)).json()["ingestionId"]
    world.run(150)
    second = world.upload(item(2)).json()["ingestionId"]
    world.run(150)
    assert announced(world) == [second, first]
    world.run(86400)
    assert len(world.notices) == 2


def test_a_reordered_notice_is_not_held_for_ever(world, item):
    """notice_reordered: without a later end the notice goes out half an hour late."""
    world.script("notice_reordered")
    world.upload(item(1))
    world.run(2000)
    assert len(world.notices) == 1


@pytest.mark.parametrize("place", ["notice", "status"])
def test_link_expired(world, item, place):
    """link_expired: a link that is handed out expired gives 403; the next one works."""
    response = world.upload(item())
    if place == "status":
        world.run()
    world.script("link_expired")
    world.run()
    link = world.notices[0]["reportDownloadLink"] if place == "notice" else world.status(response)["reportDownloadLink"]
    assert world.client.get(link, auth=None).status_code == 403
    assert world.client.get(world.status(response)["reportDownloadLink"], auth=None).status_code == 200


def test_link_missing(world, item):
    """link_missing: a DONE without a link (U11); the next call has one."""
    response = world.upload(item())
    world.run()
    world.script("link_missing")
    assert world.status(response) == {"processingStatus": "DONE", "reportDownloadLink": ""}
    assert world.status(response)["reportDownloadLink"]


def raw_report(world, fault, *items):
    world.script(fault)
    world.upload(*items)
    world.run()
    return world.client.get(world.notices[0]["reportDownloadLink"], auth=None)


def test_report_truncated(world, item):
    """report_truncated: the file ends in the middle and is no JSON, at every download."""
    with pytest.raises(json.JSONDecodeError):
        raw_report(world, "report_truncated", item()).json()
    with pytest.raises(json.JSONDecodeError):
        world.client.get(world.notices[0]["reportDownloadLink"], auth=None).json()


def test_report_fields_missing(world, item):
    """report_fields_missing: some items lack their status, others their error fields."""
    items = raw_report(world, "report_fields_missing", item(1), item(2), item(3)).json()["items"]
    assert ["status" in line for line in items] == [False, True, True]
    assert ["errorCode" in line for line in items] == [True, False, True]


def test_report_unknown_fields(world, item):
    """report_unknown_fields: there are fields and a status that no document names."""
    report = raw_report(world, "report_unknown_fields", item(1), item(2)).json()
    assert "schemaVersion" in report
    assert [line["status"] for line in report["items"]] == ["DEFERRED", "SUCCESS"]


def test_report_unlisted(world, item):
    """report_unlisted: the summary counts items that are not listed."""
    report = raw_report(world, "report_unlisted", item(1), item(2), item(3)).json()
    assert report["summary"]["totalItems"] == 3
    assert [line["itemSku"] for line in report["items"]] == ["TEST-002"]


def test_report_failures_only(world, item):
    """report_failures_only: only failures are listed and the summary agrees."""
    report = raw_report(world, "report_failures_only", item(1), item(2, standard_price="x")).json()
    assert [line["itemSku"] for line in report["items"]] == ["TEST-002"]
    assert report["summary"] == {"totalItems": 2, "succeeded": 1, "failed": 1}


@pytest.mark.parametrize(("fault", "status"), [("report_unavailable", 503), ("report_error_page", 200)])
def test_fetch_faults(world, item, fault, status):
    """report_unavailable and report_error_page strike one download; the next one gives the report."""
    response = raw_report(world, fault, item())
    assert response.status_code == status
    assert response.content.startswith(b"<")
    assert world.client.get(world.notices[0]["reportDownloadLink"], auth=None).json()["items"]


def test_every_fault_is_tested_by_name():
    """No fault of the table is without a test of its own in this module."""
    with open(__file__, encoding="utf-8") as source:
        text = source.read()
    missing = [name for point in FAULTS if point != "request" for name in FAULTS[point] if f'"{name}"' not in text]
    assert missing == []


def test_refusals_are_stable(make_world, item):
    """Partial refusals: the same content is refused again each time, and another seed refuses others."""
    items = [item(number) for number in range(1, 101)]

    def refused(seed):
        world = make_world(seed=seed, faults={"refused": 0.2})
        first, second = world.outcome(*items), world.outcome(*items)
        assert first == second
        return first

    assert refused(1) == refused(1)
    assert refused(1) != refused(2)
    assert 5 < refused(1).count("ITEM_REFUSED") < 40


def test_refused_skus(world, item):
    """A list of SKUs is refused in every store."""
    world.script(refuse_skus=["TEST-002"])
    assert world.outcome(item(1), item(2), item(2, store_id="PDX-001")) == ["", "ITEM_REFUSED", "ITEM_REFUSED"]


def test_times_and_skip(world, item):
    """A line of the script passes over some chances and then strikes several times."""
    plan = {"script": [{"fault": "unavailable", "times": 2, "skip": 1}]}
    world.core.faults.replace(FaultPlan.model_validate(plan))
    assert [world.upload(item()).status_code for _ in range(5)] == [201, 503, 503, 201, 201]
    assert world.core.faults.plan.script == ()
    assert world.core.faults.injected == {"unavailable": 2}


def drawn(seed, rates, number=2000):
    faults = Faults(FaultPlan(rates=rates), seed)
    return [faults.draw("request") for _ in range(number)]


def test_rates_come_from_the_seed():
    """The same seed draws the same faults, another one others, as often as the rate says."""
    rates = {"throttled": 0.1, "unavailable": 0.2}
    assert drawn(1, rates) == drawn(1, rates)
    assert drawn(1, rates) != drawn(2, rates)
    assert 150 < drawn(1, rates).count("throttled") < 250
    assert 300 < drawn(1, rates).count("unavailable") < 500


@pytest.mark.parametrize(
    "plan",
    [
        {"rates": {"nonsense": 0.1}},
        {"rates": {"fatal": 1.5}},
        {"rates": {"fatal": 0.6, "cancelled": 0.6}},
        {"script": [{"fault": "nonsense"}]},
        {"refused": 2},
        {"unknown": 1},
    ],
)
def test_a_bad_plan_is_refused(plan):
    """Unknown faults, impossible rates and unknown keys are errors."""
    with pytest.raises(ValidationError):
        FaultPlan.model_validate(plan)
