"""What the page shows of runs in which rows are rejected, refused, held, suspended and stuck."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from tests.unit.stories.world import World, row

from catalog_sync import overview
from catalog_sync.lookup import NotFound, named
from catalog_sync.run import Kind, Run
from catalog_sync.views import downloads
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
    assert (seen["pace"]["batches"]["waiting"], seen["pace"]["rows_done"]) == (1, 0)
    job.upload()
    seen = one(reader)
    assert (seen["pace"]["batches"]["accepted"], seen["pace"]["busiest"]) == (1, 1)
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
    assert [(kind["rows"], kind["stores"]) for kind in seen["suspended"]] == [(2, 2)]
    assert {line["item_sku"] for line in seen["suspended_rows"]} == {"SKU-1"}
    assert seen["suspended_rows"][0]["times"] == 1
    assert (seen["of_run"]["run_id"], seen["breaker"], seen["dead_letters"]["waiting"]) == ("n2", "", 0)
    assert json.dumps(seen)


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
    for view in (one, runs, refused, stuck, batches):
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
