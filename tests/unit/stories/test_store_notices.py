"""What stores are told: what changed, from when on, what was refused; each once, and nothing when nothing changed."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from tests.chaos.effects import Died
from tests.unit.stories.outbox import NOTIFY, Outbox
from tests.unit.stories.world import World, row

from catalog_sync.run import Kind
from catalog_sync.store_notices import make_store_notices
from catalog_sync.tell import tell

SEA, PDX = "SEA-001", "PDX-001"


def rows(name: str = "A") -> list[dict[str, str]]:
    """Two SKUs in each of two stores."""
    return [row(n, name, store) for store in (SEA, PDX) for n in range(2)]


def told(world: World, name: str, kind: Kind = Kind.NIGHT) -> dict[str, Any]:
    """Tell of a run; return its notices to stores, by store and part."""
    tell(world.job(name, kind).open())
    return {f"{one['store']}/{one['part']}": one for one in make_store_notices(world.job(name, kind).open())}


def night(world: World, name: str, items: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """Do a whole night and tell of it."""
    world.night(name, items)
    return told(world, name)


def text(world: World, notice: dict[str, Any], kind: str = "md") -> str:
    """One of a notice's files."""
    return world.job("any").open().lake.get(notice["files"][kind]).decode("utf-8-sig")


def lines(world: World, notice: dict[str, Any]) -> list[tuple[str, ...]]:
    """What the CSV says: what, SKU, field, before, after."""
    table = csv.DictReader(io.StringIO(text(world, notice, "csv")))
    return [(r["what"], r["item_sku"], r["field"], r["before"], r["after"]) for r in table]


def test_a_night_tells_each_store_what_changed_in_it(world: World, outbox: Outbox) -> None:
    """Added; then changed, field by field, in the store where it was; then nothing, and so no message."""
    made = night(world, "n1", rows())
    assert outbox.subjects() == [f"Store {PDX}: 2 added", f"Store {SEA}: 2 added"]
    assert lines(world, made[f"{SEA}/1"]) == [("added", "SKU-0", "", "", ""), ("added", "SKU-1", "", "", "")]
    made = night(world, "n2", [*rows()[:-1], {**row(1, "Better", PDX), "retail": "2.00"}])
    assert (list(made), outbox.subjects()) == ([f"{PDX}/1"], [f"Store {PDX}: 1 changed"])
    assert lines(world, made[f"{PDX}/1"]) == [
        ("changed", "SKU-1", "item_name", "A", "Better"), ("changed", "SKU-1", "standard_price", "1.50", "2.00"),
    ]  # fmt: skip
    assert "| SKU-1 | Better | standard\\_price | 1.50 | 2.00 |" in text(world, made[f"{PDX}/1"])
    assert (night(world, "n3"), outbox.subjects()) == ({}, [])


def test_a_message_whose_claim_was_answered_by_nobody_is_sent(world: World, outbox: Outbox) -> None:
    """botocore repeats a write whose answer was lost, and DynamoDB says that the claim is taken: by ourselves."""
    world.night("n1", rows())
    put = world.ledger.put_item

    def answer_lost(**request: Any) -> Any:
        made = put(**request)
        return put(**request) if request["Item"]["sk"]["S"].startswith("NOTICE#") else made

    world.ledger.put_item = answer_lost  # type: ignore[method-assign]
    told(world, "n1")
    assert outbox.subjects() == [f"Store {PDX}: 2 added", f"Store {SEA}: 2 added"]
    told(world, "n1")
    assert outbox.subjects() == []


def test_an_item_can_be_merchandised_some_time_after_amazon_was_done(world: World, outbox: Outbox) -> None:
    """Measured from DONE (U32), not from the request nor from now; a setting, told in the retailer's time zone."""
    world.changes |= {"notify": {**NOTIFY, "merchandise_after": "45m"}, "schedule": {"timezone": "America/Los_Angeles"}}
    made = night(world, "n1", [row(1)])[f"{SEA}/1"]
    (attempt,) = world.job("n1").attempts()
    when = datetime.fromisoformat(made["merchandise_from"])
    done = float(attempt.item["ended_at"])
    assert attempt.sent_at < done < world.clock.time()
    assert 0 <= done + 45 * 60 - when.timestamp() < 60
    assert when.utcoffset() == timedelta(hours=-7)
    assert f"{when:%H:%M}** (America/Los_Angeles)" in text(world, made)


def test_what_was_refused_comes_with_what_to_do(world: World, outbox: Outbox) -> None:
    """The name as it was sent, Amazon's code and words, and advice; the message is a warning."""
    world.faults(refuse_skus=["SKU-1"])
    made = night(world, "n1", [row(0), row(1, "Soap")])[f"{SEA}/1"]
    assert [(message.subject, message.severity) for message in outbox.sent] == [
        (f"Store {SEA}: 1 added, 1 refused", "warning")
    ]
    (refused,) = json.loads(text(world, made, "json"))["listed"]["refused"]
    assert [refused[key] for key in ("item_name", "code", "message")] == [
        "Soap",
        "ITEM_REFUSED",
        "the item was refused",
    ]
    assert "Ask the team that runs the catalog" in refused["what_to_do"]
    assert refused["can_be_merchandised_from"] is None


def test_a_store_is_told_once_however_often_tasks_are_cleared(world: World, outbox: Outbox) -> None:
    """Cleared the same night, and after another night has changed the row again: the files stay, nothing is sent."""
    first = night(world, "n1", [row(1)])
    before = text(world, first[f"{SEA}/1"])
    assert told(world, "n1") == first
    night(world, "n2", [row(1, "Later")])
    assert outbox.subjects() == [f"Store {SEA}: 1 added", f"Store {SEA}: 1 changed"]
    assert (told(world, "n1"), outbox.subjects(), text(world, first[f"{SEA}/1"])) == (first, [], before)


def test_a_message_that_no_channel_took_goes_with_the_next_try(world: World, outbox: Outbox) -> None:
    """The run does not fail; cleared when the channel works again, the task sends it, once."""
    outbox.refuses = True
    night(world, "n1", [row(1)])
    outbox.refuses = False
    told(world, "n1")
    told(world, "n1")
    assert outbox.subjects() == [f"Store {SEA}: 1 added"]


def test_a_process_may_die_anywhere_while_it_tells(world: World, outbox: Outbox) -> None:
    """Dead after each effect in turn, a newer night in between: files as if nothing had been, and no message twice."""
    world.night("n1", rows())
    for last in (*range(1, 8), *range(1, 5)):
        world.fate.rest(last)
        with suppress(Died):
            tell(world.job("n1").open())
        if last == 2:
            world.fate.rest()
            world.night("n2", rows("Later"))
    world.fate.rest()
    made = told(world, "n1")
    assert set(world.fate.deaths) >= {"after lake create", "after ledger write"}
    for store in (SEA, PDX):
        assert lines(world, made[f"{store}/1"]) == [("added", f"SKU-{n}", "", "", "") for n in range(2)]
        assert "Later" not in text(world, made[f"{store}/1"], "csv") + text(world, made[f"{store}/1"])
    subjects = outbox.subjects()
    assert len(subjects) == len(set(subjects))


def test_what_is_settled_late_is_told_by_the_run_that_settles_it(world: World, outbox: Outbox) -> None:
    """The night gave up on a report; the hourly job settles it and tells, and says which run had sent it."""
    world.faults("late", late_by=5 * 3600)
    assert (night(world, "first", [row(1)]), outbox.subjects()) == ({}, [])
    world.wait(2)
    hourly = world.job("hourly", Kind.COLLECT)
    hourly.collect().settle()
    made = told(world, "hourly", Kind.COLLECT)
    assert outbox.subjects() == [f"Store {SEA}: 1 added"]
    assert "was sent by an earlier run (first), and only now confirmed" in text(world, made[f"{SEA}/1"])
    world.job("first").settle()
    assert (told(world, "first"), outbox.subjects()) == ({}, [])


def test_what_a_run_that_died_had_sent_is_told_by_the_run_that_makes_its_books(world: World, outbox: Outbox) -> None:
    """Another run settled it, not as late, while it might still have gone on; the first run a day later tells, once."""
    world.job("dead").send([row(1)])
    world.wait(2)
    assert (night(world, "soon"), outbox.subjects()) == ({}, [])
    world.wait(30)
    job = world.job("later")
    job.send().collect().settle()
    for _ in range(2):
        assert told(world, "later") == {}
    assert outbox.subjects() == [f"Store {SEA}: 1 added"]
    assert job.account()["abandoned"]["dead"]["state"] == "complete"
    assert (list(told(world, "dead")), told(world, "later"), outbox.subjects()) == ([f"{SEA}/1"], {}, [])


def test_what_a_run_settles_after_its_notices_is_told_in_a_further_part(world: World, outbox: Outbox) -> None:
    """One of two batches had no result in time; the run, cleared later, tells of that batch and of no other."""
    world.changes["api"] = {"max_items": 1}
    world.faults({"fault": "late", "operation": "upload", "skip": 1}, late_by=5 * 3600)
    world.write([row(1), row(2)])
    job = world.job("n1")
    job.send().collect().settle()
    assert list(told(world, "n1")) == [f"{SEA}/1"]
    world.wait(2)
    job.collect().settle()
    made = told(world, "n1")
    assert outbox.subjects() == [f"Store {SEA}: 1 added"] * 2
    assert [lines(world, one)[0][1] for one in made.values()] == ["SKU-1", "SKU-2"]
    assert made[f"{SEA}/2"]["files"]["md"].endswith("/notices/part-2/SEA-001.md")
    assert (told(world, "n1"), outbox.subjects()) == (made, [])


def test_a_further_part_has_no_file_of_another_store(world: World, outbox: Outbox) -> None:
    """Part 2 of store SEA and part 1 of store SEA-2: each store reads its own text."""
    world.retailer("SEA", "SEA-2")
    world.changes |= {"stores": {"ids": ["SEA", "SEA-2"]}, "api": {"max_items": 1}}
    world.faults({"fault": "late", "operation": "upload", "skip": 1}, late_by=5 * 3600)
    world.write([row(1, store="SEA"), row(2, store="SEA"), row(3, store="SEA-2")])
    job = world.job("n1")
    job.send().collect().settle()
    assert set(told(world, "n1")) == {"SEA/1", "SEA-2/1"}
    world.wait(2)
    job.collect().settle()
    made = told(world, "n1")
    assert {name: lines(world, one)[0][1] for name, one in made.items()} == {
        "SEA/1": "SKU-1", "SEA-2/1": "SKU-3", "SEA/2": "SKU-2",
    }  # fmt: skip
    assert "SKU-2" in outbox.sent[-1].text


def test_a_row_sent_again_as_it_was_is_no_change(world: World, outbox: Outbox) -> None:
    """A backfill with ``resend`` changes nothing in the store, and tells it nothing."""
    night(world, "n1", rows())
    outbox.subjects()
    books = world.job("b1", Kind.BACKFILL, resend=True).whole()
    assert books["total"]["acknowledged"] == 4
    assert (told(world, "b1", Kind.BACKFILL), outbox.subjects()) == ({}, [])


def test_a_night_that_archives_tells_each_store_what_is_gone_and_what_must_leave_the_shelf(
    world: World, outbox: Outbox
) -> None:
    """SKU-1 and SKU-2 have left every store; SKU-2 is on a planogram. SEA-001 never had SKU-1."""
    world.retailer(SEA, PDX)
    world.changes["archive"] = {"after": 1, "apart": "0s"}
    loaded = [row(0, store=SEA), row(0, store=PDX), row(1, "Tea", PDX), row(2, "Jam", SEA), row(2, "Jam", PDX)]
    night(world, "n1", loaded)
    outbox.subjects()
    world.wait(24)
    world.faults(planogram=["SKU-2"])
    made = night(world, "n2", loaded[:2])
    assert [(one.subject, one.severity) for one in outbox.sent] == [
        (f"Store {PDX}: 1 archived, 1 refused", "warning"), (f"Store {SEA}: 1 refused", "warning"),
    ]  # fmt: skip
    outbox.subjects()
    assert lines(world, made[f"{PDX}/1"]) == [("archived", "SKU-1", "", "", ""), ("refused", "SKU-2", "", "", "")]
    assert made[f"{PDX}/1"]["merchandise_from"] is None
    for store in (SEA, PDX):
        (refused,) = json.loads(text(world, made[f"{store}/1"], "json"))["listed"]["refused"]
        assert (refused["item_sku"], refused["item_name"], refused["code"]) == ("SKU-2", "Jam", "SKU_ON_PLANOGRAM")
        assert "Take the item off the shelves" in refused["what_to_do"]
    shown = text(world, made[f"{PDX}/1"])
    assert "| SKU-1 | Tea | 4001 |" in shown
    assert "These can no longer be sold" in shown
    assert "with the handheld's Planogram tool" in shown
    world.faults(planogram=[])
    world.wait(24)
    made = night(world, "n3")
    assert outbox.subjects() == [f"Store {PDX}: 1 archived", f"Store {SEA}: 1 archived"]
    assert lines(world, made[f"{SEA}/1"]) == [("archived", "SKU-2", "", "", "")]
    world.wait(24)
    assert (night(world, "n4"), outbox.subjects()) == ({}, [])


def test_hostile_names_stay_text(world: World, outbox: Outbox) -> None:
    """A formula in a CSV cell, Markdown and HTML in a name."""
    made = night(world, "n1", [row(1, "=HYPERLINK(1) | <b>x</b> [a](http://x) `c`")])[f"{SEA}/1"]
    assert "'=HYPERLINK(1)" in text(world, made, "csv")
    assert "=HYPERLINK(1) \\| \\<b\\>x\\</b\\> \\[a\\](http://x) \\`c\\`" in text(world, made)


def test_a_long_list_is_cut_in_the_text_and_whole_in_the_csv(world: World, outbox: Outbox) -> None:
    """60 items: 50 in the text, all in the CSV."""
    made = night(world, "n1", [row(n) for n in range(60)])[f"{SEA}/1"]
    assert len(lines(world, made)) == 60
    assert "… and 10 more lines in the CSV." in text(world, made)
