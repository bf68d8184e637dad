"""Going back to what Amazon had: after a night that sent what it should not have sent."""

from __future__ import annotations

import re

import pytest
from tests.unit.stories.test_archive import asked, told
from tests.unit.stories.world import World, counts, row

from catalog_sync.books import remarks
from catalog_sync.errors import BadInput
from catalog_sync.plan_summary import as_markdown
from catalog_sync.release import approve, question
from catalog_sync.run import Kind

STORES = ["SEA-001", "PDX-001"]
DAY_1 = [row(n) for n in range(4)] + [row(n, store="PDX-001") for n in range(3)]
#: Two names are wrong, SKU-9 is new everywhere, SKU-3 is new in PDX-001, and SKU-2 has left SEA-001.
DAY_2 = [
    row(0, "B"), row(1), row(3), row(9), row(0, "B", "PDX-001"), row(1, store="PDX-001"), row(2, store="PDX-001"),
    row(3, store="PDX-001"), row(9, store="PDX-001"),
]  # fmt: skip


@pytest.fixture
def world(world: World) -> World:
    """A world whose second night sent what it should not have sent."""
    world.retailer(*STORES)
    assert world.night("first", DAY_1)["state"] == "complete"
    world.before = world.catalog()  # type: ignore[attr-defined]
    world.wait(24)
    assert world.night("second", DAY_2)["state"] == "complete"
    world.wait(1)
    return world


def test_the_active_items_are_those_of_day_1_once_the_archives_are_approved(world: World) -> None:
    """What differs is sent at once, what was not there waits for a person, and what cannot be is told."""
    books = world.job("back", kind=Kind.ROLLBACK, to="first").whole()
    assert books["state"] == "complete"
    assert counts(books) == {"read": 7, "unchanged": 5, "planned": 2, "sent": 2, "acknowledged": 2}
    assert told(books) == {"due": 1, "held": 1}
    assert books["held"]["by_code"] == {"ROLLBACK_ARCHIVES": 2}
    assert asked(world) == []
    assert re.fullmatch(r"held: 2 by ROLLBACK_ARCHIVES, .* UTC; answer in release_held_changes", remarks(books)[0])
    job = world.job("back")
    approve(job.open(), question(job.open())["hash"][:12], "ann", "the file was that of another retailer")
    books = world.job("release", kind=Kind.ROLLBACK, to="first", release="back").whole()
    assert (books["state"], told(books)) == ("complete", {"due": 1, "planned": 1, "asked": 1, "archived": 1})
    assert asked(world) == [["SKU-9"]]
    left = {("PDX-001", "SKU-3"): "A"}
    assert world.catalog() == {**world.before, **left}  # type: ignore[attr-defined]
    assert books["leaving"]["partial"] == {"PDX-001": 1}
    assert remarks(books) == [
        "released: what run back held, as a person has approved",
        "archives, in SKUs: archived 1, asked 1, due 1, planned 1",
        "rows that cannot be rolled back, since Amazon archives in every store or none: PDX-001 1",
    ]


def test_the_plan_says_what_cannot_be_rolled_back_and_what_comes_next(world: World) -> None:
    """A dry run shows it and sends nothing; the next night goes forward again."""
    before = world.catalog()
    job = world.job("dry", kind=Kind.ROLLBACK, to="first", dry_run=True)
    assert remarks(job.whole())[0] == "would be held: 2 by ROLLBACK_ARCHIVES"
    text = as_markdown(job.open().plan)
    for part in (
        "To what Amazon had after run first",
        "The next night goes forward again",
        "1 rows that PDX-001 did not have then, while other stores did",
        "SKUs to archive: held | 1",
    ):
        assert part in text
    assert world.catalog() == before
    world.job("back", kind=Kind.ROLLBACK, to="first").whole()
    assert world.names() == {"A"}
    world.wait(24)
    assert counts(world.night("third"))["acknowledged"] == 2
    assert world.names() == {"A", "B"}


def test_an_archived_sku_comes_back(world: World) -> None:
    """An upload makes it active again, with the content of then."""
    world.changes["archive"] = {"after": 1, "apart": "0s"}
    gone = [one for one in DAY_2 if one["item_no"] != "SKU-0"]
    assert told(world.night("third", gone))["archived"] == 1
    books = world.job("back", kind=Kind.ROLLBACK, to="second").whole()
    assert books["catalog"]["SEA-001"]["reactivated"] == books["catalog"]["PDX-001"]["reactivated"] == 1
    assert {name for (_, sku), name in world.catalog().items() if sku == "SKU-0"} == {"B"}


def test_a_rollback_of_one_store_leaves_the_others_alone(world: World) -> None:
    """And archives no SKU that another store has now."""
    books = world.job("back", kind=Kind.ROLLBACK, to="first", stores=("SEA-001",)).whole()
    assert counts(books) == {"read": 7, "out_of_scope": 3, "unchanged": 3, "planned": 1, "sent": 1, "acknowledged": 1}
    assert (told(books), books["leaving"]["elsewhere"], asked(world)) == ({}, 1, [])
    names = {store: name for (store, sku), name in world.catalog().items() if sku == "SKU-0"}
    assert names == {"SEA-001": "A", "PDX-001": "B"}


def test_a_store_that_is_closed_since_is_told(world: World) -> None:
    """Nobody sends rows of a store that is not configured."""
    world.changes["stores"] = {"ids": ["SEA-001"]}
    job = world.job("back", kind=Kind.ROLLBACK, to="first")
    books = job.whole()
    assert books["rollback"]["not_configured"] == {"PDX-001": 3}
    assert "3 rows of PDX-001, which is not configured" in as_markdown(job.open().plan)
    assert {name for (store, sku), name in world.catalog().items() if sku == "SKU-0"} == {"A", "B"}


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("nobody", "neither a run that has books nor a time"),
        ("2001-01-01", "rollback.within"),
        ("2999-01-01T00:00Z", "lies in the future"),
        ("", "neither a run"),
        ("9999-12-31T23:59-08:00", "neither a run that has books nor a time"),
        ("0001-01-01T00:00+09:00", "neither a run that has books nor a time"),
    ],
)
def test_where_nobody_can_go_back_to_is_an_error(world: World, to: str, why: str) -> None:
    """It names what was asked for, and nothing is sent."""
    with pytest.raises(BadInput, match=why):
        world.job("back", kind=Kind.ROLLBACK, to=to).read()
