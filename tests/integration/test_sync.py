"""The whole job with no scheduler, against the sandbox's server: what Amazon has afterwards, and the books."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.conftest import Deployment, row

from catalog_sync.account import gather
from catalog_sync.collect import Collector
from catalog_sync.errors import BadInput, Misconfigured, Superseded
from catalog_sync.extract import extract
from catalog_sync.plan import plan
from catalog_sync.prepare import prepare
from catalog_sync.run import Kind, Options, Run
from catalog_sync.settle import settle
from catalog_sync.shards import shards
from catalog_sync.sync import sync
from catalog_sync.tables import Tables
from catalog_sync.upload import UploadFailed, upload

ROWS = [row(n, store) for n in range(5) for store in ("SEA-001", "PDX-001")]

#: Neither notices nor the status API tell the end of an upload.
SILENCE = {
    "rates": {"notice_lost": 1.0},
    "script": [{"fault": "unavailable", "operation": "status", "times": 1000}],
}


def counts(made: dict[str, Any]) -> dict[str, int]:
    """The columns of the books that are not zero."""
    return {column: rows for column, rows in made["total"].items() if rows}


def to_the_plan(run: Run) -> None:
    """All stages before the first request: what these decided, with the run's own settings, stays decided."""
    extract(run, "erp")
    for shard in shards(run):
        prepare(run, shard)
    plan(run)


def test_a_first_load_then_a_change_then_nothing(deployment: Deployment) -> None:
    """Amazon has what the source has; a change sends the changed row; an unchanged source sends no request at all."""
    first = deployment.sync("n1", ROWS)
    assert (first["state"], counts(first)) == ("complete", {"read": 10, "planned": 10, "sent": 10, "acknowledged": 10})
    assert deployment.catalog() == {(r["store_no"], r["item_no"]): r["descr"] for r in ROWS}
    changed = [
        {**r, "descr": "New name"} if r["item_no"] == "SKU-2" and r["store_no"] == "PDX-001" else r for r in ROWS
    ]
    second = deployment.sync("n2", changed)
    assert counts(second) == {"read": 10, "unchanged": 9, "planned": 1, "sent": 1, "acknowledged": 1}
    assert deployment.catalog()["PDX-001", "SKU-2"] == "New name"
    assert deployment.uploads() == 2
    third = deployment.sync("n3")
    assert (third["state"], counts(third)) == ("complete", {"read": 10, "unchanged": 10})
    assert deployment.uploads() == 2


def test_rejected_rows_leave_amazon_as_it_was(deployment: Deployment) -> None:
    """I7: the last acknowledged row of a key whose source row is now rejected stays, unchanged."""
    deployment.sync("n1", ROWS)
    broken = [{**r, "gtin": "012345678901"} if r["item_no"] == "SKU-1" else r for r in ROWS]
    made = deployment.sync("n2", broken)
    assert counts(made) == {"read": 10, "rejected": 2, "unchanged": 8}
    assert made["rejected"] == {"BARCODE_CHECK_DIGIT": 2}
    assert len(deployment.catalog()) == 10


def test_an_empty_source_removes_nothing(deployment: Deployment) -> None:
    """I5: header only."""
    deployment.sync("n1", ROWS)
    made = deployment.sync("n2", [])
    assert (made["state"], counts(made)) == ("complete", {})
    assert len(deployment.catalog()) == 10
    assert deployment.uploads() == 1


def test_small_batches_and_grouped_tasks(deployment: Deployment) -> None:
    """A plan of many batches is cut by items, and beyond max_upload_tasks each task carries neighbours."""
    api = {"max_items": 3, "max_upload_tasks": 2}
    made = deployment.sync("n1", ROWS, api=api)
    assert (made["state"], made["plan"]["batches"], deployment.uploads()) == ("complete", 4, 4)
    run = deployment.open("n1", api=api)
    assert plan(run)["groups"] == [[1, 2], [3, 4]]
    assert plan(run, max_groups=1)["groups"] == [[1, 2, 3, 4]]


def test_a_dry_run_sends_nothing_and_takes_no_plan_number(deployment: Deployment) -> None:
    """It stops after the plan; the books say what would be sent."""
    made = deployment.sync("d1", ROWS, options=Options(kind=Kind.COMMAND, dry_run=True))
    assert (made["state"], counts(made)) == ("complete", {"read": 10, "planned": 10, "unsent": 10})
    assert deployment.uploads() == 0
    assert deployment.sync("n1")["plan"]["plan_number"] == 1


def test_a_run_for_one_store_leaves_the_others_alone(deployment: Deployment) -> None:
    """Rows of other stores are out of scope, and so are other SKUs when SKUs are named."""
    made = deployment.sync("n1", ROWS, options=Options(stores=("PDX-001",), skus=("SKU-1", "SKU-3")))
    assert counts(made) == {"read": 10, "out_of_scope": 8, "planned": 2, "sent": 2, "acknowledged": 2}
    assert set(deployment.catalog()) == {("PDX-001", "SKU-1"), ("PDX-001", "SKU-3")}


def test_a_store_that_is_not_configured_is_an_error_in_the_form_and_a_reject_in_the_source(
    deployment: Deployment,
) -> None:
    """The form names the known stores; the source's rows are rejected with the store's name."""
    with pytest.raises(Misconfigured, match=r"stores = XXX-999: not among the configured stores \(CHI-007"):
        deployment.sync("n1", ROWS, options=Options(stores=("XXX-999",)))
    made = deployment.sync("n2", [row(1, "XXX-999"), row(2)])
    assert made["rejected"] == {"STORE_UNKNOWN": 1}
    assert made["stores"]["XXX-999"]["rejected"] == 1


def test_what_amazon_refuses_is_counted_and_rests_until_it_changes(deployment: Deployment) -> None:
    """A refused row is no failure; it is not sent again at once, but when a person asks, or its content changes."""
    deployment.faults(refuse_skus=["SKU-1"])
    made = deployment.sync("n1", ROWS)
    assert (made["state"], made["total"]["refused"], made["total"]["acknowledged"]) == ("complete", 2, 8)
    assert counts(deployment.sync("n2")) == {"read": 10, "unchanged": 8, "suspended": 2}
    assert deployment.uploads() == 1
    made = deployment.sync("n3", options=Options(resend=True, skus=("SKU-1",)))
    assert made["total"]["refused"] == 2
    deployment.faults()
    fixed = [{**r, "descr": "Better"} if r["item_no"] == "SKU-1" else r for r in ROWS]
    assert counts(deployment.sync("n5", fixed)) == {
        "read": 10, "unchanged": 8, "planned": 2, "sent": 2, "acknowledged": 2,
    }  # fmt: skip


@pytest.mark.parametrize("end", ["fatal", "fatal_half", "cancelled"])
def test_an_upload_that_fails_whole_is_incomplete_and_heals_in_the_next_run(deployment: Deployment, end: str) -> None:
    """FATAL and CANCELLED acknowledge nothing; a follow-up is due; the next run sends the rows again."""
    deployment.sync("n1", ROWS[:4])
    deployment.faults(script=[{"fault": end}])
    changed = [{**r, "descr": "Changed"} for r in ROWS[:4]]
    made = deployment.sync("n2", changed)
    assert (made["state"], made["total"]["failed"]) == ("incomplete", 4)
    assert settle(deployment.open("n2"))["follow_up"] is True
    made = deployment.sync("n3")
    assert (made["state"], made["total"]["acknowledged"]) == ("complete", 4)
    assert set(deployment.catalog().values()) == {"Changed"}


def test_a_half_applied_upload_heals_even_when_the_source_goes_back(deployment: Deployment) -> None:
    """After FATAL nobody knows what Amazon has: the old content is sent again although it was acknowledged before."""
    deployment.sync("n1", ROWS[:4])
    deployment.faults(script=[{"fault": "fatal_half"}])
    deployment.sync("n2", [{**r, "descr": "Changed"} for r in ROWS[:4]])
    assert "Changed" in deployment.catalog().values()
    made = deployment.sync("n3", ROWS[:4])
    assert made["total"]["acknowledged"] == 4
    assert deployment.catalog() == {(r["store_no"], r["item_no"]): r["descr"] for r in ROWS[:4]}
    assert counts(deployment.sync("n4")) == {"read": 4, "unchanged": 4}


def test_results_come_by_polling_when_no_notice_comes(deployment: Deployment) -> None:
    """No notice at all: the status API carries the run, its books balance, and the loss itself is an alarm."""
    deployment.faults(rates={"notice_lost": 1.0})
    made = deployment.sync("n1", ROWS, api={"max_items": 3}, results=deployment.results(poll_after="1s"))
    assert (made["state"], made["total"]["acknowledged"]) == ("complete", 10)
    assert len(deployment.catalog()) == 10
    assert made["alarms"] == [
        "no notice came for 4 of 4 uploads: the status API had to be asked; see docs/runbooks/lost-subscription.md"
    ]
    deployment.faults()
    made = deployment.sync("n2", [{**r, "descr": "Changed"} for r in ROWS])
    assert (made["state"], made["alarms"]) == ("complete", [])


def test_one_notice_that_stays_away_is_no_lost_subscription(deployment: Deployment) -> None:
    """Under half of the finished uploads: no alarm."""
    deployment.faults(script=[{"fault": "notice_lost"}])
    # Late enough that the three notices are there before their uploads are asked for.
    made = deployment.sync("n1", ROWS, api={"max_items": 3}, results=deployment.results(poll_after="15s"))
    assert (made["state"], made["alarms"]) == ("complete", [])


def test_neither_notice_nor_status(deployment: Deployment) -> None:
    """Unknown after the deadline and not acknowledged; when the status API works again the hourly job settles it."""
    results = deployment.results(poll_after="1s", give_up_after="2s")
    deployment.faults(**SILENCE)
    api = {"breaker": {"failures": 5, "pause": "1s", "longest_pause": "1s"}}
    made = deployment.sync("n1", ROWS, results=results, api=api)
    assert (made["state"], counts(made)) == (
        "incomplete", {"read": 10, "planned": 10, "sent": 10, "unknown": 10},
    )  # fmt: skip
    assert Tables(deployment.open("n1").lake).read("acknowledged", ["SEA-001", "PDX-001"]).is_empty()
    deployment.faults(rates={"notice_lost": 1.0})
    hourly = deployment.open("hourly", Options(kind=Kind.COLLECT), results=results, api=api)
    collector = Collector(hourly)
    while not collector.step().waiting:
        pass
    collector.archive()
    settle(hourly)
    assert gather(hourly)["late"] == [
        {"of_run": deployment.run_id("n1"), "stores": {"PDX-001": {"acknowledged": 5}, "SEA-001": {"acknowledged": 5}}}
    ]
    assert counts(deployment.sync("n2")) == {"read": 10, "unchanged": 10}
    assert deployment.uploads() == 1


def test_without_any_word_the_next_night_sends_again(deployment: Deployment) -> None:
    """What stays unknown is sent with the next run, acknowledged there, and Amazon has it once."""
    results = deployment.results(poll_after="1s", give_up_after="3s")
    deployment.faults(**SILENCE)
    assert deployment.sync("n1", ROWS, results=results)["total"]["unknown"] == 10
    deployment.faults()
    to_the_plan(deployment.open("n2", results=results))
    made = deployment.sync("n2")
    assert (made["state"], made["total"]["acknowledged"], made["alarms"]) == ("complete", 10, [])
    assert (deployment.uploads(), len(deployment.catalog())) == (2, 10)


def test_an_upload_without_a_result_is_unknown_and_late_results_are_booked_by_the_run_that_settles_them(
    deployment: Deployment,
) -> None:
    """Never on a 201: the rows are unknown, in doubt, and later acknowledged as late, of the run that sent them."""
    results = deployment.results(poll_after="1s", give_up_after="1s")
    deployment.faults(**SILENCE)
    made = deployment.sync("n1", ROWS, results=results)
    assert (made["state"], made["total"]["unknown"]) == ("incomplete", 10)
    deployment.faults()
    run = deployment.open("drain", Options(kind=Kind.COLLECT))
    collector = Collector(run)
    while not collector.step().waiting:
        pass
    collector.archive()
    made = deployment.sync("n2", results=results)
    assert made["late"] == [
        {"of_run": deployment.run_id("n1"), "stores": {"PDX-001": {"acknowledged": 5}, "SEA-001": {"acknowledged": 5}}}
    ]  # fmt: skip


@pytest.mark.parametrize("lost", ["timeout_after", "reset_after", "gateway_timeout_after", "no_id", "not_json"])
def test_an_answer_lost_after_acceptance_loses_nothing(deployment: Deployment, lost: str) -> None:
    """The rows are sent again as a new attempt; both uploads may be applied; the row counts once."""
    deployment.faults(script=[{"fault": lost}], hold=6)
    made = deployment.sync("n1", ROWS)
    assert (made["state"], made["total"]["sent"], made["total"]["acknowledged"]) == ("complete", 10, 10)
    assert len(deployment.catalog()) == 10


def test_a_row_that_its_run_has_booked_is_not_booked_again_as_late(deployment: Deployment) -> None:
    """The answer to the first send was lost and the second was acknowledged: the first one's end is no news."""
    deployment.faults(script=[{"fault": "reset_after"}], hold=6)
    made = deployment.sync("n1", ROWS)
    assert made["total"]["acknowledged"] == 10
    results = deployment.results(poll_after="100ms", give_up_after="100ms", horizon="100ms")
    hourly = deployment.open("hourly", Options(kind=Kind.COLLECT), results=results)
    assert settle(hourly)["settled"] == 1
    assert gather(hourly)["late"] == []


def test_what_a_finished_run_leaves_in_the_ledger_expires(deployment: Deployment) -> None:
    """The ledger does not grow for ever: of a run only the line of its plan number stays."""
    deployment.sync("n1", ROWS, api={"max_items": 3})
    run = deployment.open("n1")
    kept = [item["sk"] for item in run.ledger.query(f"RUN#{run.run_id}") if "expires_at" not in item]
    assert kept == []


def test_a_403_stops_sending_and_the_run_says_so(deployment: Deployment) -> None:
    """Nothing is sent; the rows are unsent; the books balance all the same."""
    deployment.faults(rates={"forbidden": 1.0})
    made = deployment.sync("n1", ROWS, api={"max_items": 3})
    assert (made["state"], made["total"]["unsent"]) == ("incomplete", 10)
    assert deployment.uploads() == 1


def test_an_open_breaker_leaves_the_run_incomplete_and_another_sends_the_rest(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the API keeps failing, nobody calls it any more; the books say so, and a later run sends what is left."""
    deployment.write([row(n) for n in range(1, 7)])
    deployment.faults(rates={"server_error_final": 1.0})
    api = {"max_items": 1, "breaker": {"failures": 2, "pause": "10m"}}
    monkeypatch.setattr("catalog_sync.upload.PATIENCE", 1.0)
    books = deployment.sync("n1", api=api)
    asked = len(deployment.lines("/sandbox/requests"))
    assert books["state"] == "incomplete"
    assert (asked, books["total"]["failed"], books["total"]["unsent"]) == (2, 2, 4)
    assert any("the circuit breaker is open since" in problem for problem in books["problems"])
    deployment.faults()
    monkeypatch.undo()
    # The ten minutes pass.
    breaker = (f"BREAKER#{deployment.raw['retailer']}", "BREAKER")
    assert deployment.open("n2").ledger.update(*breaker, {"open_until": 1.0}, "attribute_exists(#open_until)", {})
    assert deployment.sync("n2", api=api)["total"]["acknowledged"] == 6


def test_one_failed_batch_does_not_stop_the_others(deployment: Deployment) -> None:
    """A 500 without advice fails its batch; the other batches are sent, collected and acknowledged."""
    deployment.faults(script=[{"fault": "server_error_final"}])
    made = deployment.sync("n1", ROWS, api={"max_items": 3})
    assert (made["state"], made["total"]["failed"], made["total"]["acknowledged"]) == ("incomplete", 3, 7)


@pytest.mark.parametrize("fault", ["link_expired", "link_missing", "report_error_page"])
def test_a_report_that_cannot_be_fetched_at_first_is_fetched_through_a_fresh_link(
    deployment: Deployment, fault: str
) -> None:
    """An expired, missing or broken report is asked for again through the status API."""
    deployment.faults(script=[{"fault": fault}])
    made = deployment.sync("n1", ROWS)
    assert (made["state"], made["total"]["acknowledged"]) == ("complete", 10)


def test_a_report_that_stays_broken_acknowledges_nothing(deployment: Deployment) -> None:
    """I1: DONE without a readable report is no result; the rows are unknown and sent again by a later run."""
    results = deployment.results(poll_after="1s", give_up_after="3s")
    deployment.faults(script=[{"fault": "report_truncated"}])
    made = deployment.sync("n1", ROWS, results=results)
    assert (made["state"], made["total"]["unknown"], made["total"]["acknowledged"]) == ("incomplete", 10, 0)
    to_the_plan(deployment.open("n2", results=results))
    made = deployment.sync("n2")
    assert (made["state"], made["total"]["acknowledged"]) == ("complete", 10)


@pytest.mark.parametrize("stage", ["upload", "Collector.step"])
def test_a_ledger_that_fails_in_one_stage_still_ends_in_books(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """As in the DAG, where the stages after it run all the same: the books say what is missing."""

    def fails(*given: object) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, "PutItem")

    monkeypatch.setattr(f"catalog_sync.sync.{stage}", fails)
    monkeypatch.setattr("catalog_sync.sync.PATIENCE", 2)
    made = deployment.sync("n1", ROWS)
    assert (made["state"], made["total"]["unsent" if stage == "upload" else "unknown"]) == ("incomplete", 10)


def test_every_stage_can_be_repeated_and_the_run_ends_the_same(deployment: Deployment) -> None:
    """Clearing any task of a finished run sends nothing and changes nothing."""
    made = deployment.sync("n1", ROWS)
    run = deployment.open("n1")
    before = Tables(run.lake).version("acknowledged")
    for shard in shards(run):
        prepare(run, shard)
    assert plan(run)["plan_number"] == 1
    assert upload(run, [1])["requests"] == 0
    settle(run)
    assert Tables(run.lake).version("acknowledged") == before
    assert gather(deployment.open("n1"))["total"] == made["total"]


def test_a_task_of_an_older_run_sends_nothing_after_a_newer_plan(deployment: Deployment) -> None:
    """I4: cleared days later, it is superseded and says by which run."""
    deployment.write(ROWS)
    old = deployment.open("monday")
    to_the_plan(old)
    from catalog_sync.lease import Lease

    Lease.of(old).release(1, old.run_id)
    deployment.sync("wednesday", [{**r, "descr": "Newer"} for r in ROWS])
    with pytest.raises(Superseded, match=r"run .*-wednesday has made plan 2"):
        upload(deployment.open("monday"), [1])
    assert set(deployment.catalog().values()) == {"Newer"}


def test_a_run_whose_sources_are_older_than_another_plan_leaves_those_keys_alone(deployment: Deployment) -> None:
    """A night that read before a backfill planned does not send its older rows after the backfill's."""
    deployment.write(ROWS)
    night = deployment.open("night")
    extract(night, "erp")
    options = Options(kind=Kind.BACKFILL, skus=("SKU-0", "SKU-1"))
    deployment.sync("backfill", [{**r, "descr": "Newer"} for r in ROWS[:4]], options=options)
    made = sync(deployment.open("night"))
    assert counts(made) == {"read": 10, "in_doubt": 4, "planned": 6, "sent": 6, "acknowledged": 6}
    assert sorted(set(deployment.catalog().values())) == ["Item 2", "Item 3", "Item 4", "Newer"]


def test_a_moved_barcode_waits_for_its_holder(deployment: Deployment) -> None:
    """The holder's change goes first, the new claim in the next run; Amazon refuses nothing on the way."""
    deployment.sync("n1", [row(1, gtin="4011"), row(2, gtin="4012")])
    moved = [row(1, gtin="4999"), row(2, gtin="4011")]
    made = deployment.sync("n2", moved)
    assert counts(made) == {"read": 2, "held": 1, "planned": 1, "sent": 1, "acknowledged": 1}
    made = deployment.sync("n3")
    assert counts(made) == {"read": 2, "unchanged": 1, "planned": 1, "sent": 1, "acknowledged": 1}
    assert counts(deployment.sync("n4")) == {"read": 2, "unchanged": 2}


def test_a_missing_source_fails_before_anything_is_sent(deployment: Deployment) -> None:
    """The message names the file; there are no books of a plan, and the run says that nothing was sent."""
    with pytest.raises(BadInput, match=r"items\.csv: there is no such file"):
        deployment.sync("n1")
    made = gather(deployment.open("n1"))
    assert made["state"] == "incomplete"
    assert "nothing was sent" in made["problems"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"results": {"queue": "Nowhere"}}, r"results\.queue = 'Nowhere'.*catalog-sync\.yaml"),
        ({"ledger": {"table": "Nowhere"}}, r"ledger table 'Nowhere'.*catalog-sync\.yaml"),
    ],
)
def test_an_aws_resource_that_does_not_exist_is_named(
    deployment: Deployment, changes: dict[str, Any], message: str
) -> None:
    """Which setting, what AWS said, and where it is made."""
    merged = {key: {**deployment.raw.get(key, {}), **value} for key, value in changes.items()}
    with pytest.raises(Misconfigured, match=message):
        deployment.sync("n1", ROWS, **merged)
    if "results" in changes:  # it was found out after the rows were sent
        assert gather(deployment.open("n1"))["total"]["sent"] == len(ROWS)


def test_a_failed_upload_task_raises_for_the_scheduler(deployment: Deployment) -> None:
    """The domain's upload raises, so that the task is red; the rest of its batches is sent first."""
    deployment.write(ROWS)
    run = deployment.open("n1", api={"max_items": 5})
    to_the_plan(run)
    deployment.faults(script=[{"fault": "server_error_final"}])
    with pytest.raises(UploadFailed, match="batch 1 rows 0–5"):
        upload(run, [1, 2])
    assert deployment.uploads() == 2


def test_events_tell_what_became_of_every_row_that_was_not_unchanged(deployment: Deployment) -> None:
    """Acknowledged, refused, rejected, held and suspended rows, each with its run and code; replaying adds nothing."""
    deployment.faults(refuse_skus=["SKU-3"])
    deployment.sync("n1", [row(1, gtin="4011"), row(2, gtin="4012"), row(3)])
    deployment.sync("n2", [row(1, gtin="4999"), row(2, gtin="4011"), row(3), row(4, gtin="12")])
    settle(deployment.open("n2"))
    run = deployment.open("n2")
    events = Tables(run.lake).read("events", [run.run_id]).select("item_sku", "what", "code").rows()
    assert events == [
        ("SKU-1", "acknowledged", ""),
        ("SKU-2", "held", "BARCODE_WAITS"),
        ("SKU-3", "suspended", ""),
        ("SKU-4", "rejected", "BARCODE_LENGTH"),
    ]


def test_an_item_status_that_no_document_names_proves_nothing(deployment: Deployment) -> None:
    """The row is unknown and dirty: when the source goes back, the old content is sent again."""
    deployment.sync("n1", ROWS)
    deployment.faults(rates={"report_unknown_fields": 1.0})
    made = deployment.sync("n2", [{**r, "descr": "Changed"} for r in ROWS])
    deployment.faults()
    assert made["total"]["unknown"] > 0
    deployment.sync("n3", ROWS)
    assert deployment.catalog() == {(r["store_no"], r["item_no"]): r["descr"] for r in ROWS}


def test_outcomes_that_another_run_settles_are_booked_once(deployment: Deployment) -> None:
    """While a run is under way its rows are in its own books, even if the hourly job settled them first."""
    from catalog_sync.account import account

    deployment.write(ROWS)
    night = deployment.open("night")
    to_the_plan(night)
    upload(night, [1])
    hourly = deployment.open("hourly", Options(kind=Kind.COLLECT))
    collector = Collector(hourly)
    while not collector.step().waiting:
        pass
    collector.archive()
    # Some of the night's uploads are older than give_up_after while it still waits for its last.
    results = deployment.results(poll_after="100ms", give_up_after="100ms")
    hourly = deployment.open("hourly", Options(kind=Kind.COLLECT), results=results)
    assert (settle(hourly)["settled"], settle(deployment.open("night"))["settled"]) == (1, 0)
    made = account(deployment.open("night"))
    assert (made["state"], made["total"]["acknowledged"]) == ("complete", 10)
    assert (gather(hourly)["state"], gather(hourly)["late"]) == ("complete", [])


def test_the_books_balance_when_another_run_has_sent_the_same_rows_since(deployment: Deployment) -> None:
    """A night's books are made after a backfill has sent some of its new rows again, and new rows of its own."""
    from catalog_sync.account import account

    deployment.write(ROWS)
    night = deployment.open("night")
    to_the_plan(night)
    upload(night, [1])
    hourly = deployment.open("hourly", Options(kind=Kind.COLLECT))
    collector = Collector(hourly)
    while not collector.step().waiting:
        pass
    collector.archive()
    settle(hourly)
    deployment.sync("backfill", [*({**r, "descr": "Newer"} for r in ROWS[:4]), *ROWS[4:], row(9)])
    made = account(deployment.open("night"))
    assert (made["state"], made["problems"], made["total"]["acknowledged"]) == ("complete", [], 10)
    assert made["catalog"]["SEA-001"] == {
        "active_before": 0, "new": 5, "reactivated": 0, "archived": 0, "active_after": 5,
    }  # fmt: skip
