"""What the page shows of runs in which rows are rejected, refused, held, suspended and stuck."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.stories.world import World, row

from catalog_sync import overview
from catalog_sync.alerts.book import AlertBook, Finding
from catalog_sync.alerts.kinds import Kind as AlertKind
from catalog_sync.doubt import attempts_of
from catalog_sync.lookup import NotFound, named
from catalog_sync.pace import pace
from catalog_sync.run import Kind, Run
from catalog_sync.views import downloads, runbooks
from catalog_sync.views.alerts import alerts
from catalog_sync.views.refused import refused
from catalog_sync.views.runs import batches, one, runs
from catalog_sync.views.stuck import stuck

SEA, PDX = "SEA-001", "PDX-001"
ROWS = [row(n, store=store) for n in range(6) for store in (SEA, PDX)]
BAD = {**row(50), "gtin": "012345678901"}
FORMULA = {**row(51), "item_no": "=cmd|' /C calc'!A0", "descr": "<script>alert(1)</script>"}


class NoSqs:
    """An account whose queues cannot be asked."""

    def client(self, service: str) -> Any:
        """Return a client that fails as a lost connection does."""
        from botocore.exceptions import EndpointConnectionError

        raise EndpointConnectionError(endpoint_url="https://sqs.test")


@pytest.fixture
def reader(world: World) -> Run:
    """The run that the page reads through."""
    run = world.job("page").open()
    queues: Any = world.queues
    run.aws = type("Account", (), {"client": lambda self, service: queues})()
    return run


def lines(data: bytes) -> list[dict[str, str]]:
    """The rows of a CSV download."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_a_run_from_its_first_minute_to_its_books(world: World, reader: Run) -> None:
    """It is live and has no stores; then planned; then sent; then accounted for, with the same numbers as the books."""
    with pytest.raises(NotFound, match="No run has begun"):
        one(reader)
    job = world.job("n1")
    world.write([*ROWS, BAD])
    job.extract()
    seen = one(reader)
    assert (seen["live"], seen["stores"], seen["pace"]["requests"]) == (True, {}, 0)
    job.read().plan()
    seen = one(reader)
    assert seen["total"] == {"read": 13, "rejected": 1, "planned": 12}
    assert (seen["pace"]["batches"]["waiting"], seen["pace"]["items_done"]) == (1, 0)
    job.upload()
    seen = one(reader)
    assert (seen["pace"]["batches"]["accepted"], seen["pace"]["busiest"], seen["rate"]) == (1, 1, 10)
    [(minute, uploads, busiest)] = seen["pace"]["minutes"]
    assert (minute % 60, uploads, busiest) == (0, 1, 1)
    made = job.end()
    seen = one(reader)
    assert (seen["live"], seen["record"]["state"], seen["files"]["rejects"]) == (False, "complete", True)
    assert seen["total"] == {column: rows for column, rows in made["total"].items() if rows}
    assert seen["pace"]["batches"]["acknowledged"] == 1
    assert seen["pace"]["took"]["p50"] > 0
    assert sum(seen["pace"]["took"]["bars"]) == 1
    assert json.dumps(seen)


def test_the_list_of_runs(world: World, reader: Run) -> None:
    """Newest first; pages; the newest night is shown although a backfill came after it, and dry runs never are."""
    world.night("n1", ROWS)
    world.clock.sleep(60)
    world.job("b1", Kind.BACKFILL, stores=(SEA,), resend=True).whole()
    world.clock.sleep(60)
    world.job("d1", dry_run=True).read().plan()
    found = runs(reader)
    assert [record["run_id"] for record in found["runs"]] == ["d1", "b1", "n1"]
    assert found["more"] == ""
    first = runs(reader, limit=2)
    assert [record["run_id"] for record in runs(reader, 2, first["more"])["runs"]] == ["n1"]
    assert one(reader)["record"]["run_id"] == "n1"
    assert one(reader, "b1")["record"]["kind"] == "backfill"
    assert [attempt["batch"] for attempt in batches(reader, "n1")["attempts"]] == [1]
    assert batches(reader, "n1", first=1) == {"all": 1, "attempts": []}


def test_what_was_rejected_and_refused(world: World, reader: Run) -> None:
    """By code and field with samples and advice; the trend has every night; the CSV has every row."""
    world.faults(refuse_skus=["SKU-1"])
    world.night("n1", [*ROWS, BAD])
    world.wait(24)
    world.night("n2", [*ROWS, BAD, {**BAD, "item_no": "SKU-52"}])
    seen = refused(reader, "n1")
    [rejected] = seen["rejected"]
    assert (rejected["code"], rejected["field"], rejected["rows"]) == ("BARCODE_CHECK_DIGIT", "external_product_id", 1)
    assert rejected["samples"][0]["value"] == "012345678901"
    assert "scan the product" in rejected["advice"]
    [no] = seen["refused"]
    assert (no["rows"], {sample["store_id"] for sample in no["samples"]}) == (2, {SEA, PDX})
    assert no["samples"][0]["message"]
    newest = refused(reader)
    assert (newest["run_id"], newest["rejected"][0]["rows"]) == ("n2", 2)
    assert [night["rejected"]["BARCODE_CHECK_DIGIT"] for night in newest["trend"]] == [1, 2]
    assert sum(newest["trend"][0]["refused"].values()) == 2
    found = lines(b"".join(downloads.refused_csv(reader, "n1")))
    assert (found[0]["item_sku"], found[0]["code"]) == ("SKU-50", "BARCODE_CHECK_DIGIT")
    assert len(found) == 3
    assert all(line["advice"] for line in found)
    only = lines(b"".join(downloads.refused_csv(reader, "n1", "BARCODE_CHECK_DIGIT")))
    assert [line["item_sku"] for line in only] == ["SKU-50"]


def test_a_download_holds_no_formula(world: World, reader: Run) -> None:
    """A cell that a spreadsheet would run is made a text; what looks like HTML stays text."""
    world.night("n1", [*ROWS, FORMULA])
    [line] = lines(b"".join(downloads.refused_csv(reader, "n1")))
    assert line["item_sku"].startswith("'=cmd|")
    assert line["value"].startswith("'=")
    [found] = refused(reader)["rejected"]
    assert found["samples"][0]["item_sku"] == FORMULA["item_no"]


def test_many_rejects_leave_a_small_overview(world: World, reader: Run) -> None:
    """All are counted, five are shown."""
    world.night("n1", [{**row(n), "gtin": "012345678901"} for n in range(100, 200)])
    [found] = overview.read(reader.of("n1"))["rejected"]
    assert (found["rows"], len(found["samples"])) == (100, overview.SAMPLE)


def test_what_waits(world: World, reader: Run) -> None:
    """An overdue upload, held rows with their age, and suspended rows with Amazon's word."""
    world.faults(refuse_skus=["SKU-1"])
    world.night("n1", ROWS)
    world.changes = {"guards": {"store": {"changed": {"percent": 20, "min_rows": 1}}}}
    other = [{**r, "descr": "B"} if r["store_no"] == PDX and r["item_no"] != "SKU-1" else r for r in ROWS]
    world.faults("stuck")
    job = world.job("n2").read([*other, row(9)])
    job.plan()
    assert stuck(reader)["sending"] == "n2"
    job.upload()
    seen = stuck(reader)
    assert (seen["open"], seen["overdue"], seen["sending"]) == (1, 0, "")
    world.clock.sleep(1200)
    seen = stuck(reader)
    assert (seen["overdue"], round(seen["uploads"][0]["waited"]), seen["uploads"][0]["rows"]) == (1, 1200, 1)
    assert "link" not in seen["uploads"][0]
    job.end()
    seen = stuck(reader)
    assert [(kind["code"], kind["action"], kind["rows"]) for kind in seen["held"]] == [("GUARD_CHANGED", "changed", 5)]
    assert {line["store_id"] for line in seen["held_rows"]} == {PDX}
    assert seen["held_ages"] == {"edges": [1, 2, 3, 7, 14, 30], "rows": {"GUARD_CHANGED": [5, 0, 0, 0, 0, 0, 0]}}
    assert [(kind["rows"], kind["stores"]) for kind in seen["suspended"]] == [(2, 2)]
    assert {line["item_sku"] for line in seen["suspended_rows"]} == {"SKU-1"}
    assert seen["suspended_rows"][0]["times"] == 1
    assert (seen["of_run"]["run_id"], seen["breaker"], seen["dead_letters"]["waiting"]) == ("n2", "", 0)
    assert json.dumps(seen)


def test_held_rows_grow_older(world: World, reader: Run) -> None:
    """Each row keeps its age from night to night; those that were held first are in an older bar."""
    world.changes = {"guards": {"store": {"changed": {"percent": 10, "min_rows": 1}}}}
    world.night("n1", ROWS)
    for night, last in (("n2", 2), ("n3", 4), ("n4", 4)):
        world.wait(24)
        world.night(night, [{**r, "descr": "B"} if int(r["item_no"][4:]) < last else r for r in ROWS])
    assert stuck(reader)["held_ages"]["rows"] == {"GUARD_CHANGED": [0, 4, 4, 0, 0, 0, 0]}
    world.wait(24 * 40)
    assert stuck(reader)["held_ages"]["rows"] == {"GUARD_CHANGED": [0, 0, 0, 0, 0, 0, 8]}


def test_alerts_that_are_open(world: World, reader: Run) -> None:
    """Critical ones first, each with what to do, also before any run; what is over stands apart."""
    assert alerts(reader)["open"] == []
    book = AlertBook.of(reader)
    book.raise_(Finding(AlertKind.DEAD_LETTERS, "3 messages lie there"))
    book.over(AlertKind.DEAD_LETTERS)
    book.raise_(Finding(AlertKind.SOURCE_STALE, "erp is old", "erp", world.clock.time() - 3600))
    book.raise_(Finding(AlertKind.FORBIDDEN, "Amazon refuses us"))
    book.silence("SOURCE_STALE#erp", world.clock.time() + 60, "ana", "known")
    seen = alerts(reader)
    assert [(one["name"], one["severity"], one["silent"]) for one in seen["open"]] == [
        ("FORBIDDEN", "critical", False), ("SOURCE_STALE#erp", "warning", True),
    ]  # fmt: skip
    assert (seen["open"][1]["since"], seen["now"]) == (world.clock.time() - 3600, world.clock.time())
    assert [one["name"] for one in seen["recent"]] == ["DEAD_LETTERS"]
    for alert in seen["open"]:
        assert alert["runbook"].endswith(f"/{alert['page']}")
        assert runbooks.runbook(alert["page"])["text"].startswith("# ")
    assert json.dumps(seen)


@pytest.mark.parametrize("page", ["", "..", "../alerts.md", "rows-held", "/etc/passwd", "*.md"])
def test_only_runbooks_are_shown_as_such(page: str) -> None:
    """A name is looked up among the pages and never becomes a path."""
    with pytest.raises(NotFound, match="There is no runbook"):
        runbooks.runbook(page)


def test_archives_have_books_of_their_own(world: World, reader: Run) -> None:
    """Waiting, then planned, then archived or refused; what leaves, and what stores must do, can be taken away."""
    world.changes = {"archive": {"after": 2}, "guards": {"source": {"percent": 60, "min_rows": 3}}}
    world.retailer(SEA, PDX)
    world.night("n1", ROWS)
    world.wait(24)
    world.night("n2", ROWS[4:])
    seen = one(reader)
    assert (seen["archives"], seen["leaving"]) == ({}, {"waiting": {"1": 2}, "after": 2})
    assert (seen["files"]["leaving"], seen["files"]["tasks"]) == (True, False)
    world.wait(24)
    world.faults(planogram=["SKU-0"])
    job = world.job("n3").read()
    job.plan()
    assert one(reader)["archives"] == {"due": 2, "planned": 2}
    job.upload()
    job.end()
    seen = one(reader)
    assert seen["archives"] == {"due": 2, "planned": 2, "asked": 2, "archived": 1, "refused": 1}
    assert (seen["pace"]["items"], seen["pace"]["items_done"]) == (2, 2)  # SKUs, where no row was sent
    assert runs(reader)["runs"][0]["archives"] == seen["archives"]
    found = lines(b"".join(downloads.leaving_csv(reader, "n3")))
    assert {(line["item_sku"], line["why"], line["runs_missed"]) for line in found} == {
        ("SKU-0", "to archive", "2"), ("SKU-1", "to archive", "2"),
    }  # fmt: skip
    assert seen["files"]["tasks"]
    assert {line["store_id"] for line in lines(downloads.tasks_csv(reader, "n3"))} == {SEA, PDX}
    for none in (downloads.leaving_csv, downloads.tasks_csv):
        with pytest.raises(NotFound):
            none(reader, "n1")


def test_a_queue_that_cannot_be_asked_hides_nothing_else(world: World, reader: Run) -> None:
    """The number of dead letters is unknown; everything else is told."""
    world.night("n1", ROWS)
    account: Any = NoSqs()
    reader.aws = account
    assert stuck(reader)["dead_letters"] == {"waiting": None, "by_reason": {}}


def test_downloads_of_a_run(world: World, reader: Run) -> None:
    """The plan as text, its changes as one CSV, and Amazon's report by its ingestion."""
    world.night("n1", ROWS)
    world.night("n2", [{**one_row, "descr": "B"} for one_row in ROWS])
    assert b"12 rows to send" in downloads.plan_text(reader, "n2")
    changed = lines(b"".join(downloads.changes_csv(reader, "n2")))
    assert {(line["field"], line["before"], line["after"]) for line in changed} == {("item_name", "A", "B")}
    [attempt] = batches(reader, "n2")["attempts"]
    assert json.loads(downloads.report(reader, attempt["ingestion_id"]))["ingestionId"] == attempt["ingestion_id"]
    with pytest.raises(NotFound):
        downloads.changes_csv(reader, "n1")


@pytest.mark.parametrize(
    "name", ["..", ".", "../n1", "n1/../n1", "n1/batches", "no-such-run", "n1\x00", "a" * 300, "*"]
)
def test_a_name_that_is_no_run_finds_nothing(world: World, reader: Run, name: str) -> None:
    """Whatever is asked for, only the folder of a run is ever looked into."""
    world.night("n1", ROWS)
    with pytest.raises(NotFound):
        named(reader, name)
    with pytest.raises(NotFound):
        downloads.report(reader, name)


def test_looking_writes_nothing(world: World, reader: Run) -> None:
    """No view adds or changes an object of the lake or an item of the ledger."""
    world.faults(refuse_skus=["SKU-1"])
    world.night("n1", [*ROWS, BAD])

    def everything() -> Any:
        files = {str(path): path.stat().st_mtime_ns for path in world.lake.rglob("*") if path.is_file()}
        return files, {key: dict(item) for key, item in world.ledger.items.items()}

    before = everything()
    for view in (one, runs, refused, stuck, batches, alerts):
        view(reader)
    list(downloads.refused_csv(reader, ""))
    assert everything() == before


def test_pace_of_batches_that_were_sent_again(world: World, reader: Run) -> None:
    """A batch counts once, however often it was sent; requests count each time."""
    world.changes = {"api": {"max_items": 4}}
    world.faults("throttled", "fatal")
    job = world.job("n1").send(ROWS)
    made = job.end()
    pace = one(reader)["pace"]
    assert sum(pace["batches"].values()) == 3
    assert pace["batches"]["failed"] == 1
    assert made["total"]["failed"] == 4
    assert pace["requests"] >= 3


def test_pace_of_each_minute(world: World, reader: Run) -> None:
    """Uploads by minute, and the most that any second of it had."""
    world.night("n1", ROWS)
    [attempt] = attempts_of(reader).of_run("n1")
    starts = (120.0, 120.4, 120.99, 170.0, 181.0, 181.9)
    told = pace([replace(attempt, sent_at=at) for at in starts], {1: 60})
    assert (told["minutes"], told["busiest"]) == ([[120, 4, 3], [180, 2, 2]], 3)


def test_pace_of_items_that_were_sent_twice_or_in_parts(world: World, reader: Run) -> None:
    """An item is through once, however often and in whichever parts it was sent."""
    world.night("n1", ROWS)
    [attempt] = attempts_of(reader).of_run("n1")
    parts = [replace(attempt, start=start, stop=stop) for start, stop in ((4, 8), (0, 12), (2, 6), (20, 30), (25, 30))]
    told = pace(parts, {1: 40, 2: 5})
    assert (told["items"], told["items_done"], told["batches"]["waiting"]) == (45, 22, 1)
