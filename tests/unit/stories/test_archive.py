"""SKUs that leave: when they are archived at Amazon, and all the reasons why they are not."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from typing import Any

import pytest
from obstore.store import LocalStore
from tests.chaos.effects import Died
from tests.unit.stories.world import Row, World, counts, row

from catalog_sync import journal, parallel, tables
from catalog_sync.audit import entries
from catalog_sync.books import remarks
from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.lake import Lake
from catalog_sync.plan_summary import as_markdown
from catalog_sync.release import approve, question
from catalog_sync.run import Kind
from catalog_sync.tables import Tables

STORES = ["SEA-001", "PDX-001"]
#: No guard but that on archives, which the stories set, can trip on so few rows.
ALL = {"percent": 100}
ROWS = [row(n) for n in range(6)] + [row(n, store="PDX-001") for n in range(6)]
GONE = [one for one in ROWS if one["item_no"] != "SKU-0"]
LEFT = ("SEA-001", "SKU-0"), ("PDX-001", "SKU-0")


@pytest.fixture
def world(world: World) -> World:
    """A world in which Amazon is the retailer's alone, two loaded stores, and archives after two nights."""
    world.changes = {"archive": {"after": 2}, "guards": {"source": {"percent": 60, "min_rows": 3}}}
    world.retailer(*STORES)
    assert world.night("first", ROWS)["state"] == "complete"
    world.wait(24)
    return world


def nights(world: World, *names: str, rows: list[Row] | None = None) -> dict[str, Any]:
    """Let nights pass, a day apart, and return the books of the last."""
    books: dict[str, Any] = {}
    for name in names:
        books = world.night(name, rows)
        world.wait(24)
    return books


def asked(world: World) -> list[list[str]]:
    """The SKUs of each archive request that reached Amazon."""
    return [request["itemSkus"] for request in world.wire.archives]


def absent(world: World) -> dict[str, int]:
    """The table of absences: SKU → runs missed."""
    rows = Tables(lake(world)).read("absent", ["acme"])
    return {sku: runs for sku, runs in rows.select("item_sku", "runs_missed").iter_rows() if sku}


def lake(world: World) -> Lake:
    """The lake, to look into."""
    return Lake(LocalStore(world.lake), str(world.lake))


def states(world: World) -> dict[tuple[str, str], str]:
    """Our table: (store, SKU) → state, of SKU-0."""
    rows = Tables(lake(world)).read("acknowledged", STORES, ["store_id", "item_sku", "state"])
    return {(store, sku): state for store, sku, state in rows.iter_rows() if sku == "SKU-0"}


def told(books: dict[str, Any]) -> dict[str, int]:
    """The books of archives, without what is zero."""
    return {column: skus for column, skus in books["archives"].items() if skus}


def test_a_sku_that_left_every_store_is_archived_after_two_complete_nights(world: World) -> None:
    """Not in the first night, which only counts; in the second, everywhere, in one request with every store."""
    books = nights(world, "second", rows=GONE)
    assert (books["state"], told(books), absent(world)) == ("complete", {}, {"SKU-0": 1})
    assert (books["leaving"]["waiting"], set(LEFT) <= set(world.catalog())) == ({"1": 1}, True)
    books = nights(world, "third")
    assert (books["state"], told(books)) == ("complete", {"due": 1, "planned": 1, "asked": 1, "archived": 1})
    assert counts(books) == {"read": 10, "unchanged": 10}
    assert world.wire.archives == [{"itemSkus": ["SKU-0"], "allApplicableStores": sorted(STORES)}]
    assert not set(LEFT) & set(world.catalog())
    assert states(world) == dict.fromkeys(LEFT, "ARCHIVED")
    for store in STORES:
        assert books["catalog"][store] == {
            "active_before": 6, "new": 0, "reactivated": 0, "archived": 1, "active_after": 5
        }  # fmt: skip
    events = Tables(lake(world)).read("events", ["third"])
    assert sorted(events.select("store_id", "item_sku", "what").rows()) == sorted((*key, "archived") for key in LEFT)
    entry = [one for one in entries(lake(world)) if one.what == "archive"][-1]
    assert (entry.run_id, entry.details["asked"], entry.details["archived"]) == ("third", 1, 1)
    books = nights(world, "fourth")
    assert (told(books), absent(world), len(world.wire.archives)) == ({}, {}, 1)


def test_a_sku_that_comes_back_is_uploaded_and_counts_anew(world: World) -> None:
    """Before it was archived it is simply there; afterwards an upload makes it active again."""
    nights(world, "second", rows=GONE)
    assert told(nights(world, "third", rows=ROWS)) == {}
    assert absent(world) == {}
    nights(world, "fourth", "fifth", rows=GONE)
    assert asked(world) == [["SKU-0"]]
    books = nights(world, "sixth", rows=ROWS)
    assert counts(books) == {"read": 12, "unchanged": 10, "planned": 2, "sent": 2, "acknowledged": 2}
    assert [books["catalog"][store]["reactivated"] for store in STORES] == [1, 1]
    assert set(LEFT) <= set(world.catalog())
    assert states(world) == dict.fromkeys(LEFT, "ACTIVE")


def test_a_sku_that_left_one_store_is_told_and_never_archived(world: World) -> None:
    """It is active elsewhere, and Amazon archives in all stores or none."""
    rows = [one for one in ROWS if (one["item_no"], one["store_no"]) != ("SKU-0", "SEA-001")]
    books = nights(world, "second", "third", "fourth", rows=rows)
    assert (told(books), absent(world), asked(world)) == ({}, {}, [])
    assert books["leaving"]["partial"] == {"SEA-001": 1}
    assert any("left their store, though not every store" in remark for remark in remarks(books))
    [key] = books["leaving"]["lists"]
    lines = list(csv.DictReader(io.StringIO(lake(world).get(key).decode("utf-8-sig"))))
    assert [(one["store_id"], one["item_sku"], one["why"]) for one in lines] == [
        ("SEA-001", "SKU-0", "left this store only")
    ]


@pytest.mark.parametrize("between", ["empty", "short", "no store", "stale"])
def test_a_night_that_read_badly_counts_nothing(world: World, between: str) -> None:
    """I5: a night with an empty, short or stale source, or a store without rows, between two good ones."""
    nights(world, "second", rows=GONE)
    rows = {"empty": [], "short": ROWS[1:4], "no store": ROWS[1:6], "stale": GONE}[between]
    if between == "stale":
        source = {"name": "erp", "kind": "file", "path": str(world.source), "format": "csv", "fresh_within": "26h"}
        world.changes["sources"] = [source]
        world.write(rows)
        age_source(world, 14)
        books = world.night("bad")
        world.wait(24)
        world.changes.pop("sources")
    else:
        books = nights(world, "bad", rows=rows)
    assert (told(books), asked(world), absent(world)["SKU-0"]) == ({}, [], 1)
    assert books["leaving"]["why_not"]
    assert told(nights(world, "good", rows=GONE))["archived"] == 1
    assert absent(world).get("SKU-0", 2) == 2


def age_source(world: World, days: float) -> None:
    """Let the source be last changed so long ago."""
    import os

    old = world.clock.time() - days * 86400
    os.utime(world.source, (old, old))


def test_a_row_that_cannot_be_used_is_there(world: World) -> None:
    """A rejected row, a duplicate, one of an unknown store and a held one all say that the SKU has not left."""
    for name, more in (
        ("rejected", [{**ROWS[0], "gtin": "12345"}]),
        ("twice", [{**ROWS[0], "descr": "B"}, {**ROWS[0], "descr": "C"}]),
        ("unknown store", [{**ROWS[0], "store_no": "NYC-014"}]),
        ("as a number", [{**ROWS[0], "item_no": " SKU-0 "}]),
    ):
        assert told(nights(world, f"{name} 1", f"{name} 2", f"{name} 3", rows=[*GONE, *more])) == {}
        assert absent(world) == {}
    assert asked(world) == []


def test_a_row_whose_sku_cannot_be_told_may_be_any(world: World) -> None:
    """An absence counts only in a night with no more of such rows than when the SKU was last there."""
    unknown = {**ROWS[0], "item_no": ""}
    nights(world, "second", "third", "fourth", rows=[*GONE, unknown])
    assert (absent(world), asked(world)) == ({"SKU-0": 0}, [])
    nights(world, "fifth", "sixth", rows=GONE)
    assert asked(world) == [["SKU-0"]]
    # Such a row that has always been there says nothing.
    nights(world, "seventh", rows=[*GONE, unknown])
    fewer = [one for one in GONE if one["item_no"] != "SKU-1"]
    nights(world, "eighth", "ninth", rows=[*fewer, unknown])
    assert asked(world) == [["SKU-0"], ["SKU-1"]]


def test_runs_of_the_same_day_and_partial_runs_count_once_or_not_at_all(world: World) -> None:
    """A night repeated at noon has the same exports; a backfill and a dry run count nothing."""
    world.night("second", GONE)
    for name, options in (
        ("again", {}),
        ("dry", {"dry_run": True}),
        ("one store", {"stores": ("SEA-001",)}),
        ("backfill", {"kind": Kind.BACKFILL}),
    ):
        world.wait(2)
        books = world.job(name, **options).whole()
        assert (told(books), absent(world)) == ({}, {"SKU-0": 1})
        assert books["leaving"]["why_not"]
    world.wait(24)
    assert told(world.night("third"))["archived"] == 1


def test_a_run_that_is_cleared_days_later_counts_nothing(world: World) -> None:
    """It died before it planned; the nights since have read the sources later."""
    old = world.job("died").read(GONE)
    world.wait(24)
    nights(world, "back", rows=ROWS)
    old.plan()
    old.end()
    assert (absent(world), asked(world)) == ({}, [])
    nights(world, "second", rows=GONE)
    assert absent(world) == {"SKU-0": 1}
    world.job("second").plan()
    assert absent(world) == {"SKU-0": 1}


def test_complete_books_of_a_run_that_is_cleared_after_a_later_archive_stand(world: World) -> None:
    """What the run has sent is archived since, by another: that changes neither its books nor its line in the list."""
    books = nights(world, "second", rows=[row(0, "B"), *ROWS[1:]])
    assert books["state"] == "complete"
    nights(world, "third", "fourth", rows=GONE)
    assert states(world) == dict.fromkeys(LEFT, "ARCHIVED")
    assert world.job("second").account() == books
    assert not lake(world).exists("runs/second/books-incomplete.json")
    [record] = [one for one in journal.newest(world.job("reader").open(), 10) if one["run_id"] == "second"]
    assert record["state"] == "complete"


def test_incomplete_books_that_are_made_again_after_a_later_archive_balance(world: World) -> None:
    """What the run has sent is archived since, by another run, in whose books that stands (I6)."""
    world.changes |= {"api": {"max_items": 1}}
    world.faults({"fault": "fatal", "skip": 1})
    books = nights(world, "second", rows=[row(0, "B"), row(1, "B"), *ROWS[2:]])
    assert (books["state"], counts(books)["acknowledged"], counts(books)["failed"]) == ("incomplete", 1, 1)
    books = nights(world, "third", "fourth", rows=GONE)
    assert (states(world), books["catalog"]["SEA-001"]["archived"]) == (dict.fromkeys(LEFT, "ARCHIVED"), 1)
    again = world.job("second").account()
    assert (again["state"], again["catalog"]["SEA-001"]["archived"]) == ("incomplete", 0)


def test_a_planogram_refusal_becomes_a_task_for_the_stores(world: World) -> None:
    """Which store, which SKU, what to do; later nights ask again, and three refusals make it rest for a week."""
    world.faults(planogram=["SKU-0"])
    books = nights(world, "second", "third", rows=GONE)
    assert (books["state"], told(books)) == ("complete", {"due": 1, "planned": 1, "asked": 1, "refused": 1})
    assert books["tasks"]["rows"] == 2
    data = lake(world).get("runs/third/tasks/archive.csv").decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(data)))
    assert [(one["store_id"], one["item_sku"], one["item_name"], one["code"]) for one in lines] == [
        ("PDX-001", "SKU-0", "A", "SKU_ON_PLANOGRAM"), ("SEA-001", "SKU-0", "A", "SKU_ON_PLANOGRAM")
    ]  # fmt: skip
    assert all("off the shelf" in one["what_to_do"] and "Planogram tool" in one["what_to_do"] for one in lines)
    assert any("tasks for the stores" in remark for remark in remarks(books))
    assert states(world) == dict.fromkeys(LEFT, "ACTIVE")
    nights(world, "fourth", "fifth")
    assert len(asked(world)) == 3
    assert told(nights(world, "sixth")) == {"due": 1, "suspended": 1}
    world.faults(planogram=[])
    world.wait(7 * 24)
    assert told(nights(world, "later"))["archived"] == 1


def test_what_amazon_has_archived_already_is_archived(world: World) -> None:
    """Somebody did it in the portal."""
    nights(world, "second", rows=GONE)
    world.amazon.catalog.archive("SKU-0", tuple(STORES))
    assert told(nights(world, "third"))["archived"] == 1
    assert states(world) == dict.fromkeys(LEFT, "ARCHIVED")


def test_an_incomplete_list_of_stores_stops_all_archives_until_it_changes(world: World) -> None:
    """Amazon has a store that the configuration lacks: nothing is completed from its text, and a person is told."""
    world.retailer(*STORES, "NYC-014")
    nights(world, "second", rows=GONE)
    job = world.job("third").read()
    job.plan()
    with pytest.raises(Misconfigured, match="Amazon also names NYC-014"):
        job.upload()
    books = job.end()
    assert (books["state"], told(books)) == ("incomplete", {"due": 1, "planned": 1, "unsent": 1})
    assert any("NYC-014" in problem for problem in books["problems"])
    world.wait(24)
    books = nights(world, "fourth")
    assert (books["state"], told(books), len(asked(world))) == ("complete", {"due": 1, "held": 1}, 1)
    assert any("NYC-014" in alarm for alarm in books["alarms"])
    world.changes["stores"] = {"ids": [*STORES, "NYC-014"]}
    books = nights(world, "fifth")
    assert (told(books)["archived"], books["alarms"]) == (1, [])


def test_a_closed_store_is_listed_and_not_archived(world: World) -> None:
    """Its rows are not in any source, but nobody said that Amazon should forget them."""
    world.changes["stores"] = {"ids": ["PDX-001"]}
    books = nights(world, "second", "third", "fourth", rows=ROWS[6:])
    assert (told(books), asked(world), absent(world)) == ({}, [], {})
    assert books["leaving"]["closed"] == {"SEA-001": 6}
    assert "rows of SEA-001, which is not configured" in as_markdown(world.job("fourth").open().plan)


def test_a_guard_holds_too_many_archives_and_a_release_sends_them(world: World) -> None:
    """All of a SKU is held, also where no guard tripped; a SKU that came back since is not archived."""
    narrow = {"percent": 20, "min_rows": 2}
    world.changes["guards"]["store"] = {"archived": narrow}
    rows = [one for one in ROWS if one["item_no"] not in ("SKU-0", "SKU-1", "SKU-2")]
    books = nights(world, "second", "third", rows=rows)
    assert told(books) == {"due": 3, "held": 3}
    assert {one["code"] for one in books["guards"]} == {"GUARD_ARCHIVED"}
    assert (books["held"]["rows"], books["held"]["by_code"]) == (6, {"GUARD_ARCHIVED": 6})
    assert asked(world) == []
    third = world.job("third").open()
    assert "archived" in question(third)["body"]
    approve(third, question(third)["hash"][:12], "ann", "delisted")
    back = [*rows, *(one for one in ROWS if one["item_no"] == "SKU-1")]
    books = world.job("release", kind=Kind.BACKFILL, release="third").send(back).end()
    assert (books["state"], told(books)) == ("complete", {"due": 2, "planned": 2, "asked": 2, "archived": 2})
    assert asked(world) == [["SKU-0", "SKU-2"]]
    assert {sku for _, sku in world.catalog()} == {"SKU-1", "SKU-3", "SKU-4", "SKU-5"}
    assert Tables(lake(world)).read("held", STORES).is_empty()
    with pytest.raises(BadInput, match="run release has sent these rows at"):  # archives use an approval up, too
        world.job("again", kind=Kind.BACKFILL, release="third").send(rows)


def test_a_release_in_slices_leaves_out_what_came_back_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two slices a night has its turn, and it has the SKU of the second: that one is not archived."""
    monkeypatch.setattr("catalog_sync.archives.MAX_KEYS", 2)
    monkeypatch.setattr("catalog_sync.slices.SLICE", 1)
    world.changes["guards"]["store"] = {"archived": {"percent": 1, "min_rows": 1}}
    rows = [one for one in ROWS if one["item_no"] not in ("SKU-0", "SKU-1")]
    nights(world, "second", "third", rows=rows)
    third = world.job("third").open()
    approve(third, question(third)["hash"][:12], "ann", "delisted")
    job = world.job("release", kind=Kind.BACKFILL, release="third").read(rows)
    job.plan()
    job.upload(1)
    assert world.night("between", [*rows, ROWS[1]])["state"] == "complete"
    job.upload(2)
    books = job.end()
    assert told(books) == {"due": 2, "in_doubt": 1, "planned": 1, "asked": 1, "archived": 1}
    assert asked(world) == [["SKU-0"]]


def test_a_release_archives_nothing_when_a_source_is_empty(world: World) -> None:
    """The approval was for SKUs that are absent, and an empty source does not say so."""
    world.changes["guards"]["store"] = {"archived": {"percent": 1, "min_rows": 1}}
    nights(world, "second", "third", rows=GONE)
    third = world.job("third").open()
    approve(third, question(third)["hash"][:12], "ann", "delisted")
    books = world.job("release", kind=Kind.BACKFILL, release="third").send([]).end()
    assert (told(books), asked(world)) == ({}, [])


def test_a_sku_that_comes_back_while_its_archive_is_in_doubt_waits_and_is_right_in_the_end(world: World) -> None:
    """The archive's report is late, and meanwhile the SKU is sold again, also where Amazon did not have it."""
    nights(world, "second", rows=GONE)
    world.faults("stuck")
    job = world.job("third").send()
    world.wait(1)
    rows = [*ROWS, row(7)]
    books = world.job("noon").send(rows).end()
    assert counts(books)["in_doubt"] == 2
    job.end()
    world.wait(30)
    nights(world, "fourth", "fifth")
    assert set(LEFT) <= set(world.catalog())
    assert states(world) == dict.fromkeys(LEFT, "ACTIVE")
    assert world.dirty() == set()


def test_an_archive_that_fails_is_asked_for_again(world: World) -> None:
    """FATAL, and then no report at all: nobody knows, so the next night asks again."""
    nights(world, "second", rows=GONE)
    world.faults("fatal")
    books = nights(world, "third")
    assert (books["state"], told(books)) == ("incomplete", {"due": 1, "planned": 1, "asked": 1, "failed": 1})
    assert world.dirty() == {"SKU-0"}
    assert told(nights(world, "fourth"))["archived"] == 1
    assert (states(world), world.dirty()) == (dict.fromkeys(LEFT, "ARCHIVED"), set())


def test_the_report_of_an_archive_that_comes_late_is_booked_by_who_settles_it(world: World) -> None:
    """It comes after the run has given up: the next run books it, and both runs' books balance."""
    nights(world, "second", rows=GONE)
    world.faults("late", late_by=6 * 3600)
    job = world.job("third").send()
    books = job.end()
    assert (books["state"], told(books)) == ("incomplete", {"due": 1, "planned": 1, "asked": 1, "unknown": 1})
    world.wait(6)
    later = world.job("collect", kind=Kind.COLLECT)
    later.collect().settle()
    booked = later.account()
    assert booked["late"] == [{"of_run": "third", "stores": {"all stores": {"archived": 1}}}]
    assert (booked["state"], states(world)) == ("complete", dict.fromkeys(LEFT, "ARCHIVED"))
    assert job.account()["state"] == "complete"
    assert job.account()["booked_late"] == {"collect": {"archived": 1}}


def test_the_plan_shows_what_leaves(world: World) -> None:
    """To archive, waiting, partial leavers: as JSON and as Markdown; a dry run counts nothing."""
    rows = [one for one in GONE if (one["item_no"], one["store_no"]) != ("SKU-1", "SEA-001")]
    nights(world, "second", rows=rows)
    job = world.job("dry", dry_run=True).read([one for one in rows if one["item_no"] != "SKU-2"])
    job.plan()
    plan = job.open().plan
    assert plan["leaving"]["books"] == {"due": 1, "suspended": 0, "in_doubt": 0, "held": 0, "planned": 1}
    assert (plan["leaving"]["waiting"], plan["leaving"]["partial"]) == ({"1": 1}, {"SEA-001": 1})
    text = as_markdown(plan)
    for line in ("SKUs to archive: planned | 1", "SKUs absent from 1 of 2 complete runs | 1", "rows that left SEA-001"):
        assert line in text
    assert absent(world) == {"SKU-0": 1}
    assert asked(world) == []


def test_a_large_catalog_is_archived_in_several_requests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names whole SKUs and every store."""
    monkeypatch.setattr("catalog_sync.archives.MAX_KEYS", 4)
    world.changes["guards"]["store"] = world.changes["guards"]["total"] = {"archived": ALL}
    rows = [one for one in ROWS if one["item_no"] == "SKU-5"]
    world.changes["guards"]["source"] = ALL
    books = nights(world, "second", "third", rows=rows)
    assert told(books) == {"due": 5, "planned": 5, "asked": 5, "archived": 5}
    assert asked(world) == [["SKU-0", "SKU-1"], ["SKU-2", "SKU-3"], ["SKU-4"]]
    assert {sku for _, sku in world.catalog()} == {"SKU-5"}


@pytest.fixture
def mortal(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with many SKUs, archived as soon as they are absent, in which commits to tables are effects, too."""
    commit = tables.write_deltalake

    def effect(*args: Any, **kwargs: Any) -> None:
        with world.fate.around("commit"):
            commit(*args, **kwargs)

    monkeypatch.setattr(tables, "write_deltalake", effect)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    many = {"new": {"percent": 100, "min_rows": 1000}}
    world.changes = {"archive": {"after": 1, "apart": "0s"}, "guards": {"store": many, "total": many}}
    nights(world, "loaded", rows=[row(n) for n in range(150)] + [row(n, store="PDX-001") for n in range(150)])
    return world


def lives(world: World) -> Any:
    """Yield a night for each effect after which it can be killed; in each one SKU more has left."""
    for number in itertools.count(1):
        world.write([row(n, store=store) for store in STORES for n in range(number, 150)])
        world.fate.rest(last=number)
        died = len(world.fate.deaths)
        yield number - 1, world.job(f"night-{number}")
        if len(world.fate.deaths) == died:
            return
        world.wait(24)


def stages(job: Any) -> list[Any]:
    """The tasks of a night that archives, in order."""
    return [job.extract, job.read, job.plan, job.upload, job.collect, job.settle, job.account]


def is_archived(world: World, number: int, books: dict[str, Any]) -> None:
    """Hold the night to what it must have done, whatever happened on the way."""
    assert books["problems"] == []
    assert told(books) == {"due": 1, "planned": 1, "asked": 1, "archived": 1}
    gone = {f"SKU-{n}" for n in range(number + 1)}
    assert {sku for _, sku in world.catalog()} == {f"SKU-{n}" for n in range(150)} - gone
    assert [skus for skus in asked(world) if len(skus) != 1] == []
    assert {sku for skus in asked(world) for sku in skus} == gone


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_every_task_of_a_night_that_archives_is_retried_after_every_effect(mortal: World) -> None:
    """Airflow's retry of the task that died: the SKU is archived once, and counted once."""
    for number, job in lives(mortal):
        books: dict[str, Any] = {}
        for stage in stages(job):
            try:
                books = stage()
            except Died:
                mortal.fate.rest()
                mortal.clock.sleep(60)
                books = stage()
        is_archived(mortal, number, books)
    assert {"after request", "after commit", "after ledger transaction"} <= set(mortal.fate.deaths)


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_every_night_that_archives_is_abandoned_after_every_effect_and_the_next_ends_right(mortal: World) -> None:
    """Nobody clears the run that died: the next night asks for what is still due, and nothing is archived wrongly."""
    for number, job in lives(mortal):
        with contextlib.suppress(Died):
            for stage in stages(job):
                stage()
        mortal.fate.rest()
        mortal.wait(25)
        heir = mortal.night(f"heir-{number}")
        assert heir["state"] != "unbalanced"
        mortal.wait(24)
        books = mortal.night(f"rest-{number}")
        assert books["problems"] == []
        assert {sku for _, sku in mortal.catalog()} == {f"SKU-{n}" for n in range(number + 1, 150)}


def test_a_night_that_archives_is_retried_after_each_of_some_effects(mortal: World) -> None:
    """The same as the long proof, at the places where counting, asking and settling meet."""
    for number, last in enumerate((12, 15, 18, 21, 25, 29, 33, 37)):
        mortal.write([row(n, store=store) for store in STORES for n in range(number + 1, 150)])
        mortal.fate.rest(last=last)
        job, books = mortal.job(f"night-{number}"), {}
        for stage in stages(job):
            try:
                books = stage()
            except Died:
                mortal.fate.rest()
                mortal.clock.sleep(60)
                books = stage()
        is_archived(mortal, number, books)
        mortal.wait(24)
    assert len(mortal.fate.deaths) == 8
