"""Nights in which a source lies: what is held, what goes on, and that nothing is lost."""

from __future__ import annotations

import csv
import io
from typing import Any

import polars as pl
import pytest
from tests.unit.stories.world import Row, World, counts, row

from catalog_sync.audit import entries
from catalog_sync.baseline import last_rows
from catalog_sync.books import remarks
from catalog_sync.errors import BadInput
from catalog_sync.lake import Lake
from catalog_sync.ledger import LedgerTable
from catalog_sync.plan_summary import as_markdown
from catalog_sync.release import approve, question, reject
from catalog_sync.run import Kind
from catalog_sync.tables import Tables

LIMIT = {"percent": 20, "min_rows": 3}
NAMES = ("changed", "new", "prices", "rejected")
GUARDS = {
    "store": {name: LIMIT for name in NAMES},
    "total": {name: {"percent": 100} for name in NAMES},
    "source": {"percent": 20, "min_rows": 3},
}
ROWS = [row(n) for n in range(10)] + [row(n, store="PDX-001") for n in range(10)]


@pytest.fixture
def world(world: World) -> World:
    """A world with narrow limits, whose two stores are loaded."""
    world.changes = {"guards": GUARDS}
    assert world.night("first", ROWS)["state"] == "complete"
    return world


def priced(rows: list[Row], factor: int, store: str = "SEA-001") -> list[Row]:
    """The rows, the prices of one store multiplied."""
    return [{**one, "retail": f"{1.5 * factor:.2f}"} if one["store_no"] == store else one for one in rows]


def held(world: World) -> pl.DataFrame:
    """The table of what is held."""
    from obstore.store import LocalStore

    return Tables(Lake(LocalStore(world.lake), str(world.lake))).read("held", ["SEA-001", "PDX-001"])


def codes(books: dict[str, Any]) -> set[tuple[str, str]]:
    """The guards that tripped and where."""
    return {(one["code"], one["store"]) for one in books["guards"]}


def test_a_first_load_is_not_held(world: World) -> None:
    """The world's first night sent all; a new store in a later night is a first load, too."""
    world.changes["stores"] = {"ids": ["SEA-001", "PDX-001", "NYC-014"]}
    books = world.night("second", ROWS + [row(n, store="NYC-014") for n in range(10)])
    assert (counts(books), books["guards"]) == (
        {"read": 30, "unchanged": 20, "planned": 10, "sent": 10, "acknowledged": 10},
        [],
    )


def test_all_prices_times_a_hundred_are_held_and_the_other_store_goes_on(world: World) -> None:
    """The store's rows are held night after night, since the first; then the prices are right and nothing is due."""
    wrong = [*priced(ROWS, 100), row(99, store="PDX-001")]
    books = world.night("wrong", wrong)
    assert codes(books) == {("GUARD_CHANGED", "SEA-001"), ("GUARD_PRICES", "SEA-001")}
    assert counts(books) == {"read": 21, "unchanged": 10, "held": 10, "planned": 1, "sent": 1, "acknowledged": 1}
    assert (books["state"], books["held"]["rows"]) == ("complete", 10)
    since, first = held(world)["first_held_at"].unique().to_list(), books["held"]["hash"]
    world.wait(24)
    again = world.night("again")
    assert (again["held"]["hash"], again["held"]["since"]) == (first, books["held"]["since"])
    assert held(world)["first_held_at"].unique().to_list() == since
    right = world.night("right", [*ROWS, row(99, store="PDX-001")])
    assert (counts(right), right["guards"], len(held(world))) == ({"read": 21, "unchanged": 21}, [], 0)
    assert world.names() == {"A"}


def test_the_price_guard_holds_the_moved_prices_alone(world: World) -> None:
    """A price that moves a little goes on; those that move by half and more, or disappear, are held."""
    rows = [dict(one) for one in ROWS]
    for number, price in enumerate(("0.70", "2.30", "", "1.60")):
        rows[number]["retail"] = price
    books = world.night("moved", rows)
    assert codes(books) == {("GUARD_CHANGED", "SEA-001"), ("GUARD_PRICES", "SEA-001")}
    world.changes["guards"] = {**GUARDS, "store": {**GUARDS["store"], "changed": {"percent": 100}}}
    books = world.night("moved again")
    assert codes(books) == {("GUARD_PRICES", "SEA-001")}
    assert counts(books) == {"read": 20, "unchanged": 16, "held": 3, "planned": 1, "sent": 1, "acknowledged": 1}
    assert set(held(world)["item_sku"]) == {"SKU-0", "SKU-1", "SKU-2"}


def test_too_many_rejects_hold_the_store(world: World) -> None:
    """A column that moved: what still passes the contract is as doubtful as what does not."""
    rows = [{**one, "gtin": "12345"} if number < 5 else one for number, one in enumerate(ROWS)]
    rows[9] = {**rows[9], "descr": "B"}
    books = world.night("rejects", rows)
    assert codes(books) == {("GUARD_REJECTED", "SEA-001")}
    assert counts(books) == {"read": 20, "rejected": 5, "unchanged": 14, "held": 1}


def test_a_source_that_lost_rows_removes_nothing_and_is_told(world: World) -> None:
    """40 % fewer rows, none, and then all again: nothing is sent, and each night says what it saw."""
    books = world.night("short", ROWS[:12])
    assert (codes(books), counts(books)) == ({("SOURCE_SHORT", "")}, {"read": 12, "unchanged": 12})
    assert "12 rows, 40.0 % fewer than the 20 of the last complete run" in books["guards"][0]["message"]
    assert codes(world.night("no store", ROWS[:10])) == {("SOURCE_SHORT", ""), ("STORE_EMPTY", "PDX-001")}
    books = world.night("empty", [])
    stores = {("STORE_EMPTY", "PDX-001"), ("STORE_EMPTY", "SEA-001")}
    assert (codes(books), counts(books)) == ({("SOURCE_EMPTY", ""), *stores}, {})
    assert (codes(world.night("whole", ROWS)), len(world.catalog())) == (set(), 20)


def test_a_row_that_is_new_only_because_its_rival_is_missing_is_held(world: World) -> None:
    """Two rows claim a barcode and are rejected; in a short source one of them would pass."""
    rivals = [{**row(50), "gtin": "4999"}, {**row(51), "gtin": "4999"}]
    assert world.night("rivals", ROWS + rivals)["total"]["rejected"] == 2
    rows = [{**ROWS[0], "descr": "B"}, *ROWS[1:12], rivals[0]]
    assert counts(world.night("short", rows)) == {
        "read": 13, "unchanged": 11, "held": 1, "planned": 1, "sent": 1, "acknowledged": 1
    }  # fmt: skip
    assert set(held(world)["code"]) == {"SOURCE_SHORT"}


def test_a_source_that_has_shrunk_for_good_is_accepted_by_hand(world: World) -> None:
    """It is told night after night until a person says that it is right, by a run that is no dry run."""
    world.write(ROWS[:12])
    for dry_run in (True, False):
        assert codes(world.night(f"short {dry_run}")) == {("SOURCE_SHORT", "")}
        accepting = world.job(f"accept {dry_run}", Kind.BACKFILL, accept_sources=True, dry_run=dry_run)
        assert accepting.whole()["guards"] == []
    assert world.night("after")["guards"] == []
    assert codes(world.night("shorter", ROWS[:6])) == {("SOURCE_SHORT", ""), ("STORE_EMPTY", "PDX-001")}
    books = world.job("empty", Kind.BACKFILL, accept_sources=True)
    world.write([])
    assert ("SOURCE_EMPTY", "") in codes(books.whole())


def test_a_run_that_is_cleared_later_is_no_measure_of_sources_any_more(world: World) -> None:
    """Its books stand, and what has been accepted since stays what sources are measured by."""
    world.write(ROWS[:12])
    world.wait(1)
    assert world.job("accept", Kind.BACKFILL, accept_sources=True).whole()["guards"] == []
    world.job("first").account()
    assert codes(world.night("after")) == set()


def test_of_two_runs_that_are_accounted_at_once_the_later_one_is_the_measure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill that began after the night is done between the night's look at the measure and its own word."""
    night = world.job("night").send(ROWS[:18])
    night.collect().settle()
    world.clock.sleep(60)
    later = world.job("later", Kind.BACKFILL).send([*ROWS, row(10), row(11)])
    later.collect().settle()
    update = LedgerTable.update

    def overtaken(ledger: LedgerTable, pk: str, *rest: Any) -> bool:
        if pk.startswith("SOURCES#"):
            monkeypatch.setattr(LedgerTable, "update", update)
            later.account()
        return update(ledger, pk, *rest)

    monkeypatch.setattr(LedgerTable, "update", overtaken)
    assert night.account()["state"] == "complete"
    assert last_rows(night.open(), "erp") == 22


def test_rows_that_fall_back_to_another_source_are_held(world: World) -> None:
    """The source with the good names comes half: the rows that it no longer has would get the other one's names."""
    other = world.source.with_name("pos.csv")
    world.changes |= {
        "sources": [
            {"name": "erp", "kind": "file", "path": str(world.source), "format": "csv"},
            {"name": "pos", "kind": "file", "path": str(other), "format": "csv"},
        ],
        "merge": {"precedence": ["erp", "pos"]},
    }
    good = world.source.read_text()
    other.write_text(good.replace(",A,", ",POS,"))
    assert counts(world.night("two"))["unchanged"] == 20
    world.write([*ROWS[:4], {**ROWS[4], "descr": "B"}])
    books = world.night("half")
    assert codes(books) == {("SOURCE_SHORT", "")}
    assert counts(books) == {
        "read": 25, "merged_away": 5, "unchanged": 4, "held": 15, "planned": 1, "sent": 1, "acknowledged": 1
    }  # fmt: skip
    assert set(held(world)["code"]) == {"SOURCE_SHORT"}
    assert world.names() == {"A", "B"}


def test_a_stale_source_holds_its_changes(world: World) -> None:
    """An export from the week before last: its rows may be older than what Amazon has."""
    import os

    source = {"name": "erp", "kind": "file", "path": str(world.source), "format": "csv", "fresh_within": "26h"}
    world.changes["sources"] = [source]
    world.write([{**ROWS[0], "descr": "old"}, *ROWS[1:]])
    old = world.clock.time() - 14 * 86400
    os.utime(world.source, (old, old))
    books = world.night("stale")
    assert (codes(books), counts(books)) == ({("SOURCE_STALE", "")}, {"read": 20, "unchanged": 19, "held": 1})
    assert "336.0 hours before it was read; fresh_within is 26 hours" in books["guards"][0]["message"]
    os.utime(world.source, (world.clock.time(), world.clock.time()))
    assert counts(world.night("fresh"))["acknowledged"] == 1


def test_an_interrupted_first_load_goes_on(world: World) -> None:
    """Half of a new store was acknowledged: the other half is still its first load."""
    world.changes["stores"] = {"ids": ["SEA-001", "PDX-001", "NYC-014"]}
    world.changes["api"] = {"max_items": 2}
    rows = ROWS + [row(n, store="NYC-014") for n in range(10)]
    job = world.job("torn").read(rows)
    job.plan()
    job.upload(1)
    assert job.end()["state"] == "incomplete"
    books = world.night("next")
    assert (books["guards"], books["total"]["acknowledged"]) == ([], 8)


def test_the_plan_shows_what_would_change(world: World) -> None:
    """Per store, by field, price moves, before and after; as Markdown, and as a CSV that a spreadsheet opens."""
    rows = priced(ROWS, 3)
    rows[0] = {**rows[0], "descr": "=cmd|x"}
    job = world.job("p1", dry_run=True).read([*rows, row(77, store="PDX-001")])
    job.plan()
    plan = job.open().plan
    assert plan["summary"]["stores"]["SEA-001"] == {
        "active": 10, "new": 0, "changed": 10, "reactivated": 0, "resent": 0, "unchanged": 0, "suspended": 0,
        "rejected": 0, "in_doubt": 0, "held": 10, "planned": 0,
    }  # fmt: skip
    assert plan["summary"]["fields"] == {"standard_price": 10, "item_name": 1}
    assert (plan["summary"]["prices"]["up"], plan["summary"]["prices"]["down"]) == (10, 0)
    assert plan["summary"]["prices"]["largest"][0] == {
        "store_id": "SEA-001", "item_sku": "SKU-0", "before": "1.50", "after": "4.50", "percent": 200.0
    }  # fmt: skip
    shown = as_markdown(plan)
    assert "| SEA-001 | SKU-0 | item\\_name | A | =cmd\\|x |" in shown
    assert "`GUARD_PRICES`" in shown
    assert (world.lake / "runs" / "p1" / "plan.md").read_text() == shown
    [key] = plan["lists"]
    lines = list(csv.DictReader(io.StringIO((world.lake / key).read_text(encoding="utf-8-sig"))))
    assert len(lines) == 12
    assert {one["after"] for one in lines if one["field"] == "item_name"} == {"'=cmd|x"}
    assert [one["action"] for one in lines if one["item_sku"] == "SKU-77"] == ["new"]
    assert len(held(world)) == 0  # a dry run remembers nothing


def test_only_the_rows_that_are_still_as_approved_are_released(world: World) -> None:
    """The approved rows go, whatever the guards say; one that has changed since does not, and no other is sent."""
    world.night("wrong", priced(ROWS, 100))
    since = priced(ROWS, 100)
    since[0] = {**since[0], "retail": "160.00"}
    wrong = world.job("wrong").open()
    approve(wrong, question(wrong)["hash"][:12], "ann", "checked with merchandising")
    books = world.job("release", release="wrong").send([*since, row(50, store="PDX-001")]).end()
    assert counts(books) == {"read": 21, "unchanged": 10, "out_of_scope": 2, "planned": 9, "sent": 9, "acknowledged": 9}
    assert remarks(books) == ["released: what run wrong held, as a person has approved"]
    assert len(held(world)) == 0  # what SKU-0 says now is judged by the next night
    assert counts(world.night("next")) == {"read": 21, "unchanged": 19, "planned": 2, "sent": 2, "acknowledged": 2}


def test_a_release_that_could_not_be_sent_leaves_the_rows_held_since_they_were(world: World) -> None:
    """Amazon answers 403; the next night asks again, about rows as old as they are, and their release ends it."""
    world.night("wrong", priced(ROWS, 100))
    since = held(world).select("item_sku", "first_held_at").rows()
    wrong = world.job("wrong").open()
    approve(wrong, question(wrong)["hash"][:12], "ann", "checked with merchandising")
    world.wait(24)
    world.faults(rates={"forbidden": 1.0})
    books = world.job("release", release="wrong").whole()
    assert (books["state"], books["total"]["unsent"]) == ("incomplete", 10)
    assert held(world).select("item_sku", "first_held_at").rows() == since
    world.faults()
    world.wait(24)
    again = world.night("again")
    assert (again["held"]["rows"], again["held"]["hash"]) == (10, question(wrong)["hash"])
    assert held(world).select("item_sku", "first_held_at").rows() == since
    job = world.job("again").open()
    approve(job, question(job)["hash"][:12], "ann", "once more")
    last = world.job("release again", release="again").send()
    assert len(held(world)) == 10  # sent, and no report yet
    assert (counts(last.end())["acknowledged"], len(held(world))) == (10, 0)


def test_what_amazon_refuses_of_a_release_is_held_no_more(world: World) -> None:
    """It was sent, and rests as every refused row does."""
    world.night("wrong", priced(ROWS, 100))
    wrong = world.job("wrong").open()
    approve(wrong, question(wrong)["hash"][:12], "ann", "")
    world.faults(refuse_skus=["SKU-1"])
    assert counts(world.job("release", release="wrong").whole())["refused"] == 1
    assert len(held(world)) == 0


def test_a_release_beside_a_night_does_not_keep_the_nights_rows_back(world: World) -> None:
    """The night has read and not yet planned: it leaves the released rows alone, and sends the others."""
    world.night("wrong", priced(ROWS, 100))
    wrong = world.job("wrong").open()
    approve(wrong, question(wrong)["hash"][:12], "ann", "")
    night = world.job("night").read([*priced(ROWS, 100), row(50, store="PDX-001")])
    world.clock.sleep(60)
    assert counts(world.job("release", release="wrong").whole())["acknowledged"] == 10
    night.plan()
    night.upload()
    books = night.end()
    assert counts(books) == {"read": 21, "unchanged": 10, "in_doubt": 10, "planned": 1, "sent": 1, "acknowledged": 1}


def test_a_store_taken_out_of_the_configuration_holds_up_nobody(world: World) -> None:
    """Half of the rows are rejected from then on: that is meant, and the other store's changes go on."""
    world.changes["stores"] = {"ids": ["SEA-001"]}
    books = world.night("closed", [{**ROWS[0], "descr": "B"}, *ROWS[1:]])
    assert codes(books) == {("STORE_CLOSED", "PDX-001")}
    assert counts(books) == {"read": 20, "rejected": 10, "unchanged": 9, "planned": 1, "sent": 1, "acknowledged": 1}
    assert len(world.catalog()) == 20


def test_an_approval_is_worth_one_release(world: World) -> None:
    """The prices went back, and a month later they are wrong again: the old approval does not send them."""
    world.night("wrong", priced(ROWS, 100))
    wrong = world.job("wrong").open()
    approve(wrong, question(wrong)["hash"][:12], "ann", "a joke")
    assert counts(world.job("release", release="wrong").whole())["acknowledged"] == 10
    world.changes["guards"] = {}
    world.night("back", ROWS)
    world.changes["guards"] = GUARDS
    world.wait(24)
    world.write(priced(ROWS, 100))
    with pytest.raises(BadInput, match="run release has sent these rows at"):
        world.job("again", release="wrong").whole()
    assert world.job("release", release="wrong").whole()["total"]["acknowledged"] == 10  # a cleared task


@pytest.mark.parametrize(("who", "withdrawn"), [("bob", "rejected by bob"), ("", "not answered")])
def test_the_last_answer_about_what_a_run_holds_counts(world: World, who: str, withdrawn: str) -> None:
    """An approval by mistake is withdrawn while the release waits; a later one counts again, with its own entry."""
    world.night("wrong", priced(ROWS, 100))
    wrong = world.job("wrong").open()
    digits = question(wrong)["hash"][:12]
    for _ in range(2):  # a task that is tried again records nothing twice
        approve(wrong, digits, "ann", "a mistake")
    release = world.job("release", release="wrong").read()
    for _ in range(2):
        assert reject(wrong, who, "").startswith(withdrawn)
    with pytest.raises(BadInput, match=f"approved by ann, and then {withdrawn} at .*: nothing is sent"):
        release.plan()
    for _ in range(2):
        approve(wrong, digits, "carl", "right after all")
    told = [(one.who, one.what) for one in entries(wrong.lake) if one.run_id == "wrong" and one.what != "held"]
    assert told == [("ann", "approved"), (who or "(nobody)", withdrawn.removesuffix(" by bob")), ("carl", "approved")]
    release.plan()
    release.upload()
    assert counts(release.end())["acknowledged"] == 10


def test_a_release_that_fails_at_amazon_has_no_follow_up(world: World) -> None:
    """It could send nothing, the approval being used up; the next night asks anew."""
    world.night("wrong", priced(ROWS, 100))
    wrong = world.job("wrong").open()
    approve(wrong, question(wrong)["hash"][:12], "ann", "")
    world.faults("fatal")
    settled = world.job("release", release="wrong").send().collect().settle()
    assert (settled["broken"], settled["follow_up"]) == (["00001-0001"], False)


def test_a_plan_of_a_hundred_stores_shows_the_ones_that_matter(world: World) -> None:
    """Fifty lines at most, and the store that is held is among them wherever its name stands."""
    stores = [f"S-{n:03d}" for n in range(120)]
    world.changes = {"stores": {"ids": stores}, "guards": GUARDS}
    rows = [row(n, store=store) for store in stores for n in range(2)]
    assert world.night("load", rows)["state"] == "complete"
    job = world.job("p", dry_run=True).read(priced(rows, 100, "S-119"))
    job.plan()
    shown = as_markdown(job.open().plan)
    table = shown[shown.index("### Stores") :].split("###")[1]
    assert "| S-119 |" in table
    assert "… 70 more with less to see" in table
    assert len(shown.splitlines()) < 120


def test_nothing_is_released_that_nobody_approved(world: World) -> None:
    """Neither without an approval, nor with the hash of something else, nor after a person's no."""
    world.night("wrong", priced(ROWS, 100))
    wrong = world.job("wrong").open()
    for number, typed in enumerate(("", "0" * 12, question(wrong)["hash"][:11])):
        with pytest.raises(BadInput, match="nothing was released"):
            approve(wrong, typed, "ann", "")
        with pytest.raises(BadInput, match="nobody has approved"):
            world.job(f"release{number}", release="wrong").send()
    assert reject(wrong, "ann", "no") == "rejected by ann"
    with pytest.raises(BadInput, match="nobody has approved"):
        world.job("release", release="wrong").send()
    assert world.names() == {"A"}


def test_the_question_shows_what_is_held_and_why(world: World) -> None:
    """The guards, the numbers, before and after, and the hash that is to be typed."""
    books = world.night("wrong", priced(ROWS, 100))
    asked = question(world.job("wrong").open())
    assert (asked["rows"], asked["hash"]) == (10, books["held"]["hash"])
    for text in (
        "`GUARD_PRICES`",
        f"`{asked['hash'][:12]}`",
        "| SEA-001 | SKU-0 | 1.50 | 150.00 | +9,900.0 % |",
        ".csv",
    ):
        assert text in asked["body"]


def test_a_store_that_was_never_configured_is_not_told_as_closed(world: World) -> None:
    """Its rows are rejected night after night; nothing of it was ever loaded."""
    strange = row(1, store="BOS-001")
    for name in ("n1", "n2"):
        made = world.night(name, [*[row(n) for n in range(20)], strange])
        assert (made["state"], made["stores"]["BOS-001"]["rejected"]) == ("complete", 1)
        assert [one for one in made["guards"] if one["code"] == "STORE_CLOSED"] == []
