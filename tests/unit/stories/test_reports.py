"""What lies behind a report link, and what each of it acknowledges, makes dirty, books, and sends in the next night."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.unit.stories.world import World, counts, row

S3_ERROR = '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an error</Message></Error>'
SKUS = {f"SKU-{n}" for n in range(4)}


def rows(name: str) -> list[dict[str, str]]:
    """Four rows of one store, of the version ``name``."""
    return [row(n, name) for n in range(4)]


def instead(answer: httpx.Response, times: int = 10_000) -> Callable[[httpx.Request], httpx.Response | None]:
    """Return what answers the next downloads in place of the reports."""
    left = [answer] * times
    return lambda request: left.pop() if left else None


def changed(world: World, change: Callable[[dict[str, Any]], Any]) -> Callable[[httpx.Request], httpx.Response | None]:
    """Return what answers downloads with the true report after ``change``."""

    def answer(request: httpx.Request) -> httpx.Response:
        report = json.loads(world.wire.sandbox.handle_request(request).content)
        change(report)
        return httpx.Response(200, json=report)

    return answer


def fetched(world: World) -> int:
    """How often Amazon was asked for a status, and so for a fresh link."""
    return sum(entry.operation == "status" for entry in world.api.record.all())


NO_REPORTS = {
    "html": httpx.Response(200, html="<html><body><h1>We are sorry</h1></body></html>"),
    "s3-xml": httpx.Response(200, text=S3_ERROR),
    "json-error": httpx.Response(200, json={"message": "Internal server error"}),
    "empty-object": httpx.Response(200, json={}),
    "empty": httpx.Response(200, content=b""),
    "truncated": httpx.Response(200, content=b'{"ingestionId": "x", "items": [{"itemSku": "SK'),
    "other-ingestion": httpx.Response(200, json={"ingestionId": "another", "summary": {}, "items": []}),
    "expired": httpx.Response(403, text="<Error><Code>AccessDenied</Code></Error>"),
    "unavailable": httpx.Response(503, text="<Error><Code>SlowDown</Code></Error>"),
}


@pytest.mark.parametrize("answer", NO_REPORTS.values(), ids=NO_REPORTS)
def test_what_is_no_report_is_asked_for_again_through_a_fresh_link(world: World, answer: httpx.Response) -> None:
    """Twice something else lies there; the status API's next link leads to the report, and nothing is lost."""
    world.night("load", rows("A"))
    world.wire.reports = instead(answer, times=2)
    books = world.night("b", rows("B"))
    assert (books["state"], counts(books)["acknowledged"], fetched(world)) == ("complete", 4, 2)
    assert (world.names(), world.dirty()) == ({"B"}, set())


@pytest.mark.parametrize("answer", [NO_REPORTS["json-error"], NO_REPORTS["expired"]], ids=["json-error", "expired"])
def test_a_link_that_never_works_acknowledges_nothing(world: World, answer: httpx.Response) -> None:
    """I1: the run gives up after four hours, its rows unknown and dirty; the next night sends them in any case."""
    world.night("load", rows("A"))
    world.wire.reports = instead(answer)
    books = world.night("b", rows("B"))
    assert (books["state"], counts(books)["unknown"]) == ("incomplete", 4)
    assert {name for name, _ in world.acknowledged().values()} == {"A"}
    assert world.dirty() == SKUS
    world.wire.reports = lambda request: None
    assert counts(world.night("a", rows("A")))["acknowledged"] == 4
    assert (world.names(), len(world.wire.uploads)) == ({"A"}, 3)


def test_unknown_keys_change_nothing(world: World) -> None:
    """A newer version of the report, with keys that no document names, at every level."""

    def newer(report: dict[str, Any]) -> None:
        report |= {"schemaVersion": "2", "links": {"self": None}}
        report["summary"]["warnings"] = 1
        for item in report["items"]:
            item |= {"severity": "INFO", "details": [{"code": 1}]}

    world.wire.reports = changed(world, newer)
    books = world.night("a", rows("A"))
    assert (books["state"], counts(books)["acknowledged"], world.dirty()) == ("complete", 4, set())


def test_a_report_of_failures_only_acknowledges_the_rest_where_the_numbers_agree(world: World) -> None:
    """One of four rows is refused, and only that one is listed."""
    world.faults("report_failures_only", refuse_skus=["SKU-1"])
    books = world.night("a", rows("A"))
    assert (books["state"], counts(books)["acknowledged"], counts(books)["refused"]) == ("complete", 3, 1)
    assert {sku for _, sku in world.acknowledged()} == SKUS - {"SKU-1"}
    assert counts(world.night("next")) == {"read": 4, "unchanged": 3, "suspended": 1}


def test_counts_that_disagree_leave_the_unlisted_unknown(world: World) -> None:
    """Half of the rows are listed, although the summary counts all: the others are dirty and sent again."""
    world.night("load", rows("A"))
    world.faults("report_unlisted")
    books = world.night("b", rows("B"))
    assert (books["state"], counts(books)["acknowledged"], counts(books)["unknown"]) == ("incomplete", 2, 2)
    assert world.dirty() == {"SKU-0", "SKU-2"}
    # The source goes back: what was listed has changed, what was not equals the acknowledged row and is sent, too.
    books = world.night("a", rows("A"))
    assert (books["state"], counts(books)["acknowledged"], world.names()) == ("complete", 4, {"A"})


def test_failures_whose_number_disagrees_acknowledge_nothing_unlisted(world: World) -> None:
    """The summary counts two failures and one is listed: which other row failed, nobody knows."""
    world.night("load", rows("A"))
    world.faults("report_failures_only", refuse_skus=["SKU-1"])

    def disagree(report: dict[str, Any]) -> None:
        report["summary"]["failed"] += 1

    world.wire.reports = changed(world, disagree)
    books = world.night("b", rows("B"))
    assert (counts(books)["refused"], counts(books)["unknown"]) == (1, 3)
    assert world.dirty() == SKUS - {"SKU-1"}


def test_items_that_we_never_sent_change_nothing_and_are_told_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A row of another store and one of another SKU: the report is kept as it came, a warning counts them."""

    def add(report: dict[str, Any]) -> None:
        report["items"] += [
            {"itemSku": "SKU-1", "storeId": "PDX-001", "status": "SUCCESS"},
            {"itemSku": "SKU-99", "storeId": "SEA-001", "status": "FAILED", "errorCode": "X"},
        ]

    world.wire.reports = changed(world, add)
    with caplog.at_level(logging.WARNING):
        world.write(rows("A"))
        job = world.job("a")
        books = job.whole()
    assert (books["state"], counts(books)["acknowledged"], len(world.acknowledged())) == ("complete", 4, 4)
    (attempt,) = job.attempts()
    assert caplog.text.count(f"The report of {attempt.ingestion_id} lists 2 items that were not sent") == 1
    kept = json.loads(job.open().lake.get_compressed(attempt.report_key))
    assert len(kept["items"]) == 6


def test_a_success_of_something_never_sent_does_not_vouch_for_the_unlisted(world: World) -> None:
    """Failures only, one of them of a foreign row: the numbers agree by accident, and prove nothing."""
    world.night("load", rows("A"))
    world.faults("report_failures_only", refuse_skus=["SKU-1"])

    def swap(report: dict[str, Any]) -> None:
        report["items"][0]["storeId"] = "PDX-001"

    world.wire.reports = changed(world, swap)
    books = world.night("b", rows("B"))
    assert (counts(books)["unknown"], world.dirty()) == (4, SKUS)


def test_the_same_report_twice_is_one_report(world: World) -> None:
    """The notice comes three times, the last half an hour after the report was settled: nothing is counted twice."""
    world.faults("notice_repeated", refuse_skus=["SKU-1"])
    world.write(rows("A"))
    job = world.job("a")
    books = job.whole()
    before = world.acknowledged()
    world.wait(1)
    assert len(world.notices) == 3
    job.collect().settle()
    again = job.account()
    assert again == books
    assert (world.acknowledged(), counts(again)["acknowledged"], counts(again)["refused"]) == (before, 3, 1)
    assert counts(world.night("next")) == {"read": 4, "unchanged": 3, "suspended": 1}


def test_a_report_of_another_attempt_of_the_same_batch_is_not_taken_for_this_ones(world: World) -> None:
    """The first answer was lost. Its report refuses a row; that of the second, which counts, does not."""
    world.night("load", rows("A"))
    world.faults("reset_after", refuse_skus=["SKU-1"])
    world.write(rows("B"))
    job = world.job("b").send()
    world.wait(0.1)
    first, second = world.amazon.records()[-2:]
    world.faults()

    def mixed_up(request: httpx.Request) -> httpx.Response | None:
        if second["ingestion_id"] in request.url.path and fetched(world) < 2:
            report = world.amazon.report(first["ingestion_id"])
            return httpx.Response(200, content=report)
        return None

    world.wire.reports = mixed_up
    books = job.end()
    assert (books["state"], counts(books)["sent"], counts(books)["acknowledged"]) == ("complete", 4, 3)
    (attempt,) = [attempt for attempt in job.attempts() if attempt.ingestion_id]
    assert (attempt.ingestion_id, fetched(world)) == (second["ingestion_id"], 2)
