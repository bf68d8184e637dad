"""Why an item is, or is not, at Amazon: every way that an item can go, and the journal of runs."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from tests.unit.stories.world import World, row

from catalog_sync import journal
from catalog_sync import why as story
from catalog_sync.errors import BadInput
from catalog_sync.prepare import prepare
from catalog_sync.run import Kind
from catalog_sync.shards import shards
from catalog_sync.why import why
from catalog_sync.why_view import render, render_runs

SEA, PDX = "SEA-001", "PDX-001"
ROWS = [row(n, store=store) for n in range(5) for store in (SEA, PDX)]


def told(world: World, sku: str, store: str = "") -> dict[str, Any]:
    """The story, after making sure that a terminal can show it."""
    story = why(world.job("reader").open(), sku, store)
    out = io.StringIO()
    render(story, Console(file=out, width=160))
    for one in story["stores"]:
        assert one["title"] in " ".join(out.getvalue().split())
    return story


def verdict(world: World, sku: str, store: str = SEA) -> tuple[str, list[str], str]:
    """What is said of one item."""
    [one] = told(world, sku, store)["stores"]
    return one["verdict"], one["codes"], one["who"]


def lines(world: World, sku: str) -> dict[str, str]:
    """What is said of a SKU alone, by store."""
    return {one["store_id"]: one["verdict"] for one in told(world, sku)["stores"]}


def changed(number: int, **fields: str) -> list[dict[str, str]]:
    """The rows, one of SEA-001 changed."""
    return [{**r, **fields} if (r["item_no"], r["store_no"]) == (f"SKU-{number}", SEA) else r for r in ROWS]


def test_an_acknowledged_item_has_its_whole_way_told(world: World) -> None:
    """Source row, batch, request, ingestion, report and what Amazon has now are there, and agree."""
    world.night("n1", ROWS)
    [one] = told(world, "SKU-3", SEA)["stores"]
    steps = one["steps"]
    assert (one["verdict"], one["who"]) == ("in_step", "nobody")
    assert steps["source"] == [
        {
            "item_sku": "SKU-3", "external_product_id": "4003", "item_name": "A", "store_id": SEA,
            "standard_price": "1.50", "source": "erp:items.csv", "source_row": 7,
        }
    ]  # fmt: skip
    assert steps["candidate"]["action"] == "new"
    assert steps["batch"] == {"number": 1, "position": 8, "archive": False}
    [request] = steps["attempts"]
    assert (request["state"], request["outcome"], request["settled"]) == ("DONE", "acknowledged", True)
    assert request["ingestion_id"] == one["acknowledged"]["ingestion_id"]
    assert world.job("x").open().lake.exists(request["report"])
    assert "link" not in request


def test_a_sku_alone_is_told_of_in_a_line_for_each_store(world: World) -> None:
    """Rejected in one store, fine in the other."""
    world.night("n1", changed(2, gtin="012345678901"))
    story = told(world, "SKU-2")
    said = {one["store_id"]: (one["verdict"], one["codes"]) for one in story["stores"]}
    assert said == {PDX: ("in_step", []), SEA: ("rejected", ["BARCODE_CHECK_DIGIT"])}
    assert {event["what"] for event in story["events"]} == {"rejected", "acknowledged"}


def test_a_rejected_row_names_its_field_and_what_to_do(world: World) -> None:
    """The rule, the field, the value and the row; Amazon keeps what it had."""
    world.night("n1", ROWS)
    world.night("n2", changed(1, gtin="012345678901"))
    [one] = told(world, "SKU-1", SEA)["stores"]
    [line] = one["steps"]["rejects"]
    assert (one["verdict"], one["who"]) == ("rejected", "the owner of the source")
    assert (line["field"], line["value"], line["source_row"]) == ("external_product_id", "012345678901", 3)
    assert "scan the product" in one["advice"]
    assert one["acknowledged"]["item_name"] == "A"


def test_a_repair_is_told(world: World) -> None:
    """The item is found under its repaired SKU, as it came."""
    world.night("n1", [*ROWS, {**row(77), "item_no": "77.0", "descr": "  Two   words "}])
    [one] = told(world, "77", SEA)["stores"]
    assert {(line["code"], line["after"]) for line in one["steps"]["repairs"]} == {
        ("NUMERIC_CELL", "77"), ("NAME_TRIM", "Two words"),
    }  # fmt: skip
    assert one["steps"]["source"][0]["item_sku"] == "77.0"


def test_a_refused_item_and_then_a_suspended_one(world: World) -> None:
    """Amazon's code and message are told; the run after does not send it, and says so."""
    world.faults(refuse_skus=["SKU-4"])
    world.night("n1", ROWS)
    [one] = told(world, "SKU-4", SEA)["stores"]
    assert (one["verdict"], one["who"]) == ("refused", "the owner of the source")
    assert one["codes"] == [one["refusals"][0]["code"]]
    assert one["said"] == one["refusals"][0]["message"] != ""
    world.night("n2")
    assert verdict(world, "SKU-4")[0] == "suspended"


def test_a_held_item_names_its_guard(world: World) -> None:
    """The guard's code, since when, and that the engineer decides; also before the run is over."""
    limits = {"percent": 20, "min_rows": 1}
    world.changes = {"guards": {"store": {"changed": limits}}}
    world.night("n1", ROWS)
    job = world.job("n2").read([{**one, "descr": "B"} for one in ROWS])
    job.plan()
    assert verdict(world, "SKU-0") == ("held", ["GUARD_CHANGED"], "the data engineer")
    job.end()
    assert verdict(world, "SKU-0") == ("held", ["GUARD_CHANGED"], "the data engineer")
    assert {one["verdict"] for one in told(world, "SKU-0")["stores"]} == {"held"}


def test_an_upload_on_its_way(world: World) -> None:
    """Being prepared, planned, sent, overdue, and given up on."""
    job = world.job("n1").read(ROWS)
    assert verdict(world, "SKU-0")[0] == "under_way"
    job.plan()
    assert verdict(world, "SKU-0")[0] == "due"
    world.faults("stuck")
    job.upload()
    assert verdict(world, "SKU-0")[0] == "sent"
    world.clock.sleep(3600)
    assert verdict(world, "SKU-0") == ("overdue", [], "the data engineer")
    job.end()
    assert verdict(world, "SKU-0")[0] == "unknown"


def test_an_upload_that_failed_whole(world: World) -> None:
    """FATAL: the next run sends it again."""
    world.faults("fatal")
    world.night("n1", ROWS)
    assert verdict(world, "SKU-0")[:2] == ("failed", ["FATAL"])


def test_what_was_planned_and_not_sent(world: World) -> None:
    """No request was made: the engineer looks at the upload task."""
    world.job("n1").read(ROWS).plan()
    world.job("n1").end()
    assert verdict(world, "SKU-0") == ("unsent", [], "the data engineer")


def test_an_item_that_left_one_store_only(world: World) -> None:
    """Amazon still has it there, and it is not archived for that: no absence is counted."""
    world.night("n1", ROWS)
    world.night("n2", [one for one in ROWS if (one["item_no"], one["store_no"]) != ("SKU-0", SEA)])
    story = told(world, "SKU-0", SEA)
    [one] = story["stores"]
    assert (one["verdict"], one["steps"]["source"], one["acknowledged"]["state"]) == ("left", [], "ACTIVE")
    assert (one["who"], story["absent"]) == ("the owner of the source", None)
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "left"}
    assert lines(world, "SKU-1") == {PDX: "in_step", SEA: "in_step"}


def test_an_item_of_a_store_that_no_source_has_any_more(world: World) -> None:
    """It left with its store, and stays at Amazon; the other store's is in step."""
    world.night("n1", ROWS)
    world.night("n2", [one for one in ROWS if one["store_no"] == PDX])
    assert verdict(world, "SKU-0")[0] == "left"
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "left"}


def test_a_sku_alone_on_its_way(world: World) -> None:
    """No line says that an item is in step before the run knows: to be prepared, due, sent; then what came of it."""
    world.night("n1", ROWS)
    job = world.job("n2")
    world.write(changed(0, descr="B"))
    job.extract()
    parts = shards(job.open())
    assert lines(world, "SKU-0") == {PDX: "under_way", SEA: "under_way"}
    for shard in parts:
        prepare(job.open(), shard)
    job.plan()
    job.upload()
    assert lines(world, "SKU-0") == {PDX: "under_way", SEA: "under_way"}
    assert verdict(world, "SKU-0")[0] == "sent"
    job.end()
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "in_step"}


def test_a_sku_alone_that_was_planned_and_not_sent(world: World) -> None:
    """Only where it was planned."""
    world.night("n1", ROWS)
    world.job("n2").read(changed(0, descr="B")).plan()
    world.job("n2").end()
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "unsent"}
    assert lines(world, "SKU-1") == {PDX: "in_step", SEA: "in_step"}


def test_a_sku_alone_whose_run_has_books_too_early(world: World) -> None:
    """Its collecting and settling failed, and then its upload was cleared: books are no proof that all is known."""
    world.night("n1", ROWS)
    job = world.job("n2").read([*changed(0, descr="B", gtin="4000"), {**row(9), "gtin": "012345678901"}])
    job.plan()
    assert job.account()["total"]["unsent"] == 1
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "unsent"}
    assert lines(world, "SKU-9") == {}
    job.upload()
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "sent"}
    assert job.account()["total"]["unknown"] == 1
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "sent"}
    world.clock.sleep(3600)
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "overdue"}


def test_a_sku_alone_whose_run_has_not_settled_what_it_did_not_send(world: World) -> None:
    """Nothing was due, so that its books are complete, though settling failed: rejected is rejected."""
    world.night("n1", ROWS)
    job = world.job("n2").read(changed(2, gtin="012345678901"))
    job.plan()
    assert job.account()["state"] == "complete"
    assert lines(world, "SKU-2") == {PDX: "in_step", SEA: "rejected"}


def test_a_sku_alone_whose_last_run_is_older_than_the_events_of_all(world: World, monkeypatch: Any) -> None:
    """Backfills of another store came since; what the night said of this one is still told."""
    world.night("n0", ROWS)
    world.night("n1", changed(2, gtin="012345678901"))
    monkeypatch.setattr(story, "RUNS", 2)
    for number in range(3):
        world.wait(1)
        world.job(f"b{number}", kind=Kind.BACKFILL, stores=(PDX,)).whole()
    assert lines(world, "SKU-2") == {PDX: "in_step", SEA: "rejected"}


def test_a_sku_alone_that_amazon_only_ever_refused_and_that_has_left(world: World) -> None:
    """Nothing is at Amazon, and nothing in the source: in one store as in all."""
    world.faults(refuse_skus=["SKU-4"])
    world.night("n1", ROWS)
    world.faults()
    world.night("n2", ROWS[:8])
    assert set(lines(world, "SKU-4").values()) == {verdict(world, "SKU-4")[0]} == {"absent"}


def test_a_run_that_failed_before_its_plan_tells_nothing(world: World) -> None:
    """The story is that of the run before."""
    world.night("n1", ROWS)
    world.job("n2").read(changed(0, descr="B"))
    assert (verdict(world, "SKU-0")[0], told(world, "SKU-0")["run"]["run_id"]) == ("under_way", "n2")
    world.job("n2").account()
    assert (verdict(world, "SKU-0")[0], told(world, "SKU-0")["run"]["run_id"]) == ("in_step", "n1")
    assert lines(world, "SKU-0") == {PDX: "in_step", SEA: "in_step"}


def test_a_sku_alone_before_the_run_has_settled(world: World) -> None:
    """What is rejected, suspended or held is known from its preparation and its plan on, in one store as in all."""
    world.changes = {"guards": {"total": {"changed": {"percent": 1, "min_rows": 1}}}}
    world.faults(refuse_skus=["SKU-4"])
    world.night("n1", ROWS)
    rows = [{**r, "gtin": "012345678901"} if r["item_no"] == "SKU-2" else r for r in changed(0, descr="B")]
    world.job("n2").read(rows).plan()
    for sku, said in (("SKU-2", "rejected"), ("SKU-4", "suspended"), ("SKU-0", "held")):
        assert lines(world, sku)[SEA] == said == verdict(world, sku)[0]


def test_a_sku_alone_has_each_store_told_of_by_the_last_run_that_read_it(world: World) -> None:
    """A backfill of one store says nothing of another one."""
    world.night("n1", changed(2, gtin="012345678901"))
    world.job("n2", kind=Kind.BACKFILL, stores=(PDX,)).whole()
    story = told(world, "SKU-2")
    assert {one["store_id"]: (one["verdict"], one["run_id"]) for one in story["stores"]} == {
        PDX: ("in_step", "n2"),
        SEA: ("rejected", "n1"),
    }
    assert story["run"]["run_id"] == "n2"
    assert "(BARCODE_CHECK_DIGIT): said by run n1" in shown(world, "SKU-2")


def test_what_a_rollback_left_alone_has_not_left(world: World) -> None:
    """A rollback reads what Amazon had: its row is told, and an item that came later is no leaver."""
    world.night("n1", ROWS[2:])
    world.wait(1)
    world.night("n2", ROWS)
    world.job("back", kind=Kind.ROLLBACK, to="n1").whole()
    [one] = told(world, "SKU-1", SEA)["stores"]
    assert (one["verdict"], one["steps"]["source"][0]["source"]) == ("in_step", "acknowledged")
    assert lines(world, "SKU-1") == {PDX: "in_step", SEA: "in_step"}
    assert set(lines(world, "SKU-0").values()) == {verdict(world, "SKU-0")[0]} == {"held"}


@pytest.fixture
def leaving(world: World) -> World:
    """A world in which SKU-0 has left every store, and is archived after two complete nights."""
    world.changes = {"archive": {"after": 2}, "guards": {"source": {"percent": 60, "min_rows": 3}}}
    world.retailer(SEA, PDX)
    world.night("n1", ROWS)
    world.wait(24)
    world.night("n2", ROWS[2:])
    world.wait(24)
    return world


def shown(world: World, sku: str, store: str = "") -> str:
    """The story on a terminal, as one line."""
    out = io.StringIO()
    render(why(world.job("reader").open(), sku, store), Console(file=out, width=200))
    return " ".join(out.getvalue().split())


def test_an_item_that_no_source_has_any_more(leaving: World) -> None:
    """Since when, how many complete runs have missed it, and when it is archived; the same without a store."""
    story = told(leaving, "SKU-0", SEA)
    absent = story["absent"]
    assert (absent["first_run"], absent["runs_missed"], absent["after"], absent["left"]) == ("n2", 1, 2, 1)
    assert absent["since"] == pytest.approx(leaving.clock.time() - 24 * 3600, abs=3600)
    assert (story["stores"][0]["verdict"], story["stores"][0]["who"]) == ("leaving", "nobody")
    assert [one["verdict"] for one in told(leaving, "SKU-0")["stores"]] == ["leaving", "leaving"]
    text = shown(leaving, "SKU-0", SEA)
    assert "1 complete run without it; it is archived after 2" in text
    assert "2026-09-22" in text
    assert told(leaving, "SKU-1", SEA)["absent"] is None


def test_an_item_that_was_archived(leaving: World) -> None:
    """The request that archived it is told, with its batch; in the next night, too, nobody needs to act."""
    leaving.night("n3")
    [one] = told(leaving, "SKU-0", PDX)["stores"]
    assert (one["verdict"], one["who"]) == ("archived", "nobody")
    assert one["steps"]["batch"] == {"number": 1, "position": 0, "archive": True}
    assert [(request["state"], request["outcome"]) for request in one["steps"]["attempts"]] == [("DONE", "archived")]
    assert [one["verdict"] for one in told(leaving, "SKU-0")["stores"]] == ["archived", "archived"]
    assert "in an archive: batch 1" in shown(leaving, "SKU-0", PDX)
    leaving.wait(24)
    leaving.night("n4")
    story = told(leaving, "SKU-0", PDX)
    assert (story["stores"][0]["verdict"], story["absent"]) == ("archived", None)


def test_an_archive_that_amazon_refuses_is_for_the_store(leaving: World) -> None:
    """Still on a planogram: Amazon's word is told, and that the store acts; also while it rests."""
    leaving.faults(planogram=["SKU-0"])
    leaving.night("n3")
    for store in (SEA, PDX):
        [one] = told(leaving, "SKU-0", store)["stores"]
        assert (one["verdict"], one["who"], one["codes"]) == ("archive_refused", "the store", ["SKU_ON_PLANOGRAM"])
        assert "Planogram tool" in one["advice"]
        assert one["said"]
    assert {one["verdict"] for one in told(leaving, "SKU-0")["stores"]} == {"archive_refused"}
    for name in ("n4", "n5", "n6"):
        leaving.wait(24)
        leaving.night(name)
    assert verdict(leaving, "SKU-0")[::2] == ("archive_refused", "the store")
    assert told(leaving, "SKU-0")["absent"]["left"] == 0
    assert "5 complete runs without it; 2 were enough, so it is due to be archived" in shown(leaving, "SKU-0")


def test_an_archive_that_is_held_is_for_the_engineer(leaving: World) -> None:
    """A guard holds it in every store."""
    narrow = {"percent": 1, "min_rows": 1}
    leaving.changes["guards"]["store"] = {"archived": narrow}
    leaving.night("n3")
    assert verdict(leaving, "SKU-0", PDX) == ("held", ["GUARD_ARCHIVED"], "the data engineer")
    assert {one["verdict"] for one in told(leaving, "SKU-0")["stores"]} == {"held"}


@pytest.mark.parametrize(("fault", "said"), [("fatal", "failed"), ("stuck", "unknown")])
def test_an_archive_that_came_to_nothing(leaving: World, fault: str, said: str) -> None:
    """FATAL, or no report: a later night asks again."""
    leaving.faults(fault)
    leaving.night("n3")
    assert verdict(leaving, "SKU-0")[0] == said
    assert {one["verdict"] for one in told(leaving, "SKU-0")["stores"]} == {said}


def test_an_archive_that_was_not_sent_is_for_the_engineer(leaving: World) -> None:
    """No request was made; one store and all say the same."""
    job = leaving.job("n3").read()
    job.plan()
    job.end()
    assert lines(leaving, "SKU-0") == dict.fromkeys((PDX, SEA), verdict(leaving, "SKU-0")[0])
    assert verdict(leaving, "SKU-0")[0] == "unsent"


def test_what_nobody_knows(world: World) -> None:
    """With a store the answer says where to look; without one there is no store to speak of, nor before any run."""
    nothing = {"sku": "SKU-0", "asked_store": "", "run": None, "absent": None, "stores": [], "events": []}
    assert told(world, "SKU-0") == nothing
    assert verdict(world, "SKU-0") == ("absent", [], "the owner of the source")
    world.night("n1", ROWS)
    assert told(world, "NO-SUCH-SKU")["stores"] == []
    assert verdict(world, "NO-SUCH-SKU")[0] == "absent"
    assert verdict(world, "SKU-0", "XXX-999")[0] == "absent"


def test_a_row_of_an_unknown_store_is_found(world: World) -> None:
    """Rows of no configured store lie together; the story tells which rule they break."""
    world.night("n1", [*ROWS, row(9, store="XXX-999")])
    assert verdict(world, "SKU-9", "XXX-999")[:2] == ("rejected", ["STORE_UNKNOWN"])


@pytest.mark.parametrize("sku", ["", "  ", "x" * 256, "a\nb", "a\x00b"])
def test_what_is_no_sku_is_said_to_be_none(world: World, sku: str) -> None:
    """Empty, too long, or with control characters."""
    with pytest.raises(BadInput, match="SKU = "):
        why(world.job("reader").open(), sku)


@pytest.mark.parametrize("sku", ["'; DROP TABLE x; --", "../../plan.json", "<script>", "' OR 1=1", "$.a", "*"])
def test_a_hostile_sku_is_only_a_text(world: World, sku: str) -> None:
    """It is compared, and never part of a path or a query."""
    world.night("n1", ROWS)
    assert told(world, sku)["stores"] == []
    assert verdict(world, sku)[0] == "absent"


def test_many_batches_are_searched_by_halves(world: World) -> None:
    """Each item is found at its place, whichever batch carries it."""
    world.changes = {"api": {"max_items": 3}}
    world.night("n1", [row(n, store=store) for n in range(20) for store in (SEA, PDX)])
    run = world.job("n1").open()
    for number in range(20):
        [one] = told(world, f"SKU-{number}", SEA)["stores"]
        batch, position, _ = one["steps"]["batch"].values()
        key = run.plan["batch_list"][batch - 1]["rows_key"]
        assert run.lake.get_frame(key).row(position, named=True)["item_sku"] == f"SKU-{number}"
    assert run.plan["batches"] == 14


def test_the_journal_has_every_run_newest_first_and_can_be_made_anew(world: World) -> None:
    """A run that goes on has no state yet; collecting runs are left out; a rebuilt journal is the same."""
    world.night("n1", changed(2, gtin="012345678901"))
    world.wait(24)
    world.job("c1", Kind.COLLECT).end()
    world.job("n2", reason="by hand", by="jane", origin="nightly_catalog_sync/manual__2").read(ROWS)
    reader = world.job("reader").open()
    second, first = journal.newest(reader, 10)
    assert (second["run_id"], second["by"], second["origin"]) == ("n2", "jane", "nightly_catalog_sync/manual__2")
    assert "state" not in second
    assert (first["run_id"], first["state"], first["rejected"]) == ("n1", "complete", {"BARCODE_CHECK_DIGIT": 1})
    assert first["total"] == {"read": 10, "rejected": 1, "planned": 9, "sent": 9, "acknowledged": 9}
    assert [one["run_id"] for one in journal.newest(reader, 1)] == ["n2"]
    assert [one["run_id"] for one in journal.newest(reader, 5, before=second["sk"])] == ["n1"]
    out = io.StringIO()
    render_runs([second, first], Console(file=out, width=160))
    assert "no books yet" in out.getvalue()
    for one in (first, second):
        world.ledger.delete_item("Ledger", Key={"pk": {"S": one["pk"]}, "sk": {"S": one["sk"]}})
    assert journal.newest(reader, 10) == []
    assert journal.rebuild(reader) == 2
    assert journal.newest(reader, 10) == [second, first]


def test_a_run_for_some_stores_only_tells_nothing_of_others(world: World) -> None:
    """The story of another store is that of the run before."""
    world.night("n1", ROWS)
    world.job("n2", stores=(PDX,)).whole()
    assert told(world, "SKU-0", SEA)["run"]["run_id"] == "n1"
    assert told(world, "SKU-0", PDX)["run"]["run_id"] == "n2"
    world.job("n3", skus=("SKU-1",)).whole()
    assert told(world, "SKU-0", PDX)["run"]["run_id"] == "n2"
    assert told(world, "SKU-1", PDX)["run"]["run_id"] == "n3"
