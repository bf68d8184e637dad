"""A backfill gives the lease up after each slice, and a night that waits goes first (design section 8)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from tests.chaos.effects import Died
from tests.unit.stories.world import Job, World, counts, row

from catalog_sync import parallel, slices
from catalog_sync.errors import RetryLater, Superseded
from catalog_sync.lease import LEASE_SECONDS, Lease
from catalog_sync.plan import plan
from catalog_sync.run import Kind
from catalog_sync.turns import GONE, take_turn

SKUS = 6


def rows(name: str, changed: str = "", at: tuple[int, ...] = ()) -> list[dict[str, str]]:
    """Rows of the version ``name``; those numbered ``at`` of the version ``changed``."""
    return [row(n, changed if n in at else name) for n in range(SKUS)]


@pytest.fixture
def sliced(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with two rows to a batch and one batch to a slice, in which Amazon has the version A."""
    monkeypatch.setattr(slices, "SLICE", 1)
    world.changes = {"api": {"max_items": 2}}
    assert world.night("first", rows("A"))["state"] == "complete"
    world.wait(24)
    world.wire.uploads.clear()
    return world


def sent(world: World) -> list[str]:
    """What was sent since, upload by upload: the SKUs' numbers and their version."""
    return [" ".join(f"{sku[4:]}{name}" for (_, sku), name in sorted(upload.items())) for upload in world.wire.uploads]


def meanwhile(world: World, what: Callable[[], Any]) -> None:
    """Let something happen once, while the next one to wait waits."""
    sleep = world.clock.sleep

    def once(seconds: float) -> None:
        world.clock.sleep = sleep
        sleep(seconds)
        what()

    world.clock.sleep = once


def test_a_slice_has_fifty_batches_and_gives_the_lease_up(world: World) -> None:
    """A plan of 120 batches is three upload tasks, and the lease is free between them; a night's plan is one."""
    world.changes = {"api": {"max_items": 1}}
    job = world.job("b", Kind.BACKFILL).read([row(n) for n in range(120)])
    groups = job.plan()["groups"]
    assert [(group[0], group[-1]) for group in groups] == [(1, 50), (51, 100), (101, 120)]
    assert [(group[0], group[-1]) for group in plan(job.open(), max_groups=2)["groups"]] == [(1, 100), (101, 120)]
    held = []
    world.wire.watch = lambda: held.append(Lease.of(job.open()).read())
    for group in groups:
        job.upload(*group)
        assert Lease.of(job.open()).read().held_until == 0
    assert [holder.token for holder in held] == [1] * 50 + [2] * 50 + [3] * 20
    assert all(holder.owner == "b" and holder.held_until > world.clock.time() - 60 for holder in held)
    assert counts(job.end()) == {"read": 120, "planned": 120, "sent": 120, "acknowledged": 120}
    night = world.job("n").read([row(n) for n in range(200, 260)])
    assert len(night.plan()["groups"]) == 60


def test_a_night_that_waits_goes_between_two_slices(sliced: World) -> None:
    """It read later: what it sends is newer, and the backfill leaves these rows alone and sends the others again."""
    backfill = sliced.job("b", Kind.BACKFILL, resend=True).read()
    backfill.plan()
    night = sliced.job("n").read(rows("A", "B", at=(1, 2, 5)))
    busy: Callable[[float], None] = sliced.clock.sleep

    def renewed(seconds: float) -> None:
        busy(seconds)
        backfill.renew()

    sliced.clock.sleep = renewed
    with pytest.raises(RetryLater, match=r"run b is sending"):
        night.plan()
    sliced.clock.sleep = busy
    backfill.upload(1)

    def goes() -> None:
        night.plan()
        night.upload()

    meanwhile(sliced, goes)
    backfill.upload(2)
    backfill.upload(3)
    # 1 was sent a moment before the night planned, so that its change is left to the next night.
    assert sent(sliced) == ["0A 1A", "2B 5B", "3A", "4A"]
    books = backfill.end()
    assert counts(books) == {"read": 6, "in_doubt": 2, "planned": 4, "sent": 4, "acknowledged": 4}
    assert (books["state"], backfill.left_to()) == ("complete", {"run n has planned them since"})
    assert counts(night.end()) == {"read": 6, "unchanged": 3, "in_doubt": 1, "planned": 2, "sent": 2, "acknowledged": 2}
    assert counts(sliced.night("next")) == {"read": 6, "unchanged": 5, "planned": 1, "sent": 1, "acknowledged": 1}
    assert sliced.names() == {"A", "B"}


def test_what_a_night_has_read_later_is_not_sent_after_it(sliced: World) -> None:
    """The backfill read X, the night went back to A and had nothing to send: X must not come after that (I4)."""
    backfill = sliced.job("b", Kind.BACKFILL).read(rows("X"))
    backfill.plan()
    backfill.upload(1)
    sliced.job("n").read(rows("A")).send()
    assert backfill.upload(2, 3)["items"] == 0
    assert sent(sliced) == ["0X 1X"]
    books = backfill.end()
    assert counts(books) == {"read": 6, "in_doubt": 4, "planned": 2, "sent": 2, "acknowledged": 2}
    assert (books["state"], backfill.left_to()) == ("complete", {"run n has read them later"})
    sliced.night("next")
    assert sliced.names() == {"A"}


def test_a_night_that_read_before_the_backfill_leaves_its_rows_to_it(sliced: World) -> None:
    """Also those of slices that are still to come; the rest of the night goes on."""
    night = sliced.job("n").read([*rows("B"), row(9, "B")])
    sliced.wait(0.1)
    backfill = sliced.job("b", Kind.BACKFILL, skus=tuple(f"SKU-{n}" for n in range(SKUS))).read(rows("C"))
    backfill.plan()
    backfill.upload(1)
    night.plan()
    night.upload()
    backfill.upload(2, 3)
    assert sent(sliced) == ["0C 1C", "9B", "2C 3C", "4C 5C"]
    assert (backfill.end()["state"], night.end()["state"]) == ("complete", "complete")


def test_a_night_that_read_between_two_slices_decides_for_itself(sliced: World) -> None:
    """A slice that was opened after the night had begun to read was read before: the night need not wait for it."""
    backfill = sliced.job("b", Kind.BACKFILL).read(rows("B"))
    backfill.plan()
    backfill.upload(1)
    night = sliced.job("n").read(rows("C"))
    backfill.upload(2)
    night.plan()
    night.upload()
    assert backfill.upload(3)["items"] == 0
    assert sent(sliced) == ["0B 1B", "2B 3B", "4C 5C"]
    backfill.end()
    night.end()
    sliced.night("next")
    assert sliced.names() == {"C"}


def test_a_backfill_abandoned_between_two_slices_leaves_nothing_behind(sliced: World) -> None:
    """Its lease is free at once, its books say what was not begun, and the next night sends the rest."""
    backfill = sliced.job("b", Kind.BACKFILL).send(rows("B"))
    assert sent(sliced) == ["0B 1B", "2B 3B", "4B 5B"]
    sliced.wire.uploads.clear()
    sliced.wait(24)
    backfill.end()
    dead = sliced.job("dead", Kind.BACKFILL).read(rows("C"))
    dead.plan()
    dead.upload(1)
    began = sliced.clock.time()
    night = sliced.job("n").send(rows("D"))
    assert sliced.clock.time() - began < 60
    assert sent(sliced) == ["0C 1C", "2D 3D", "4D 5D"]
    books = dead.end()
    assert (books["state"], counts(books)["unsent"]) == ("incomplete", 4)
    assert "2 of 3 slices were not begun" in " ".join(books["problems"])
    night.end()
    # Somebody clears its upload tasks on Wednesday.
    sliced.wait(24)
    assert dead.upload()["items"] == 2
    assert counts(dead.account()) == {"read": 6, "in_doubt": 4, "planned": 2, "sent": 2, "acknowledged": 2}
    sliced.night("next")
    assert (sent(sliced)[3:], sliced.names()) == (["0D 1D"], {"D"})


def test_a_slice_whose_lease_was_taken_is_superseded_and_the_next_one_goes_on(sliced: World) -> None:
    """A slice is fenced like a plan: half an hour of silence, and a night in between, end it."""
    sliced.changes = {"api": {"max_items": 1}}
    job = sliced.job("b", Kind.BACKFILL, resend=True).read()
    job.plan()
    job.upload(1)
    slices.open_slice(job.open(), 2)
    sliced.clock.sleep(LEASE_SECONDS + 1)
    sliced.job("n").send(rows("A", "B", at=(3,)))
    with pytest.raises(Superseded, match="run b holds plan 3, but run n has made plan 4"):
        job.upload(2)
    job.upload(3, 4, 5, 6)
    assert sent(sliced) == ["0A", "3B", "2A", "4A", "5A"]
    books = job.end()
    assert (counts(books)["unsent"], counts(books)["in_doubt"]) == (1, 1)


def test_every_opening_is_retried_after_every_effect(sliced: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that opens a slice after a night may die anywhere: the retry does the rest, and the books balance."""
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    for number in itertools.count(1):
        old, new = f"v{number:03d}", f"v{number:03d}-night"
        sliced.night(f"before{number}", rows(old))
        sliced.wait(24)
        sliced.wire.uploads.clear()
        job = sliced.job(f"b{number}", Kind.BACKFILL, resend=True).read()
        job.plan()
        job.upload(1)
        night = sliced.job(f"n{number}").send(rows(old, new, at=(2, 4)))
        sliced.fate.rest(last=number)
        died = len(sliced.fate.deaths)
        try:
            job.upload(2)
        except Died:
            sliced.fate.rest()
            sliced.clock.sleep(60)
            job.upload(2)
        lived = len(sliced.fate.deaths) == died
        sliced.fate.rest()
        job.upload(3)
        for ended in (job, night):
            books = ended.end()
            assert (books["state"], books["problems"]) == ("complete", [])
        for n in range(SKUS):
            versions = [one["SEA-001", f"SKU-{n}"] for one in sliced.wire.uploads if ("SEA-001", f"SKU-{n}") in one]
            assert versions == sorted(versions)
        sliced.wait(24)
        sliced.night(f"next{number}")
        assert sliced.catalog() == {("SEA-001", f"SKU-{n}"): new if n in (2, 4) else old for n in range(SKUS)}
        sliced.wait(24)
        sliced.ledger.forget(sliced.clock.time())
        if lived:
            break
    kinds = ("lake put", "lake create", "ledger write", "ledger transaction", "request")
    assert {f"after {kind}" for kind in kinds} <= set(sliced.fate.deaths)


def stand(world: World, name: str, kind: Kind) -> Job:
    """Let a run wait in vain for its turn, so that it stands in the line."""
    job = world.job(name, kind)
    with pytest.raises(RetryLater):
        take_turn(job.open(), "made")
    return job


def test_the_line_lets_nights_go_first_and_all_others_in_the_order_they_came(world: World) -> None:
    """Two commands and then a night wait; a run that has not looked for two minutes is not in the line any more."""
    Lease.of(world.job("sender").open()).take("sender", world.clock.time() + 10_000)
    first, second = stand(world, "first", Kind.COMMAND), stand(world, "second", Kind.BACKFILL)
    night = stand(world, "night", Kind.NIGHT)
    Lease.of(first.open()).release(1, "sender")

    def looks(job: Job) -> None:
        """One look of a run that waits, and it is not its turn."""
        meanwhile(world, lambda: (_ for _ in ()).throw(RetryLater("enough")))
        with pytest.raises(RetryLater, match="enough"):
            take_turn(job.open(), "made")

    looks(first)
    looks(second)
    looks(first)
    assert take_turn(night.open(), "made") == 2
    Lease.of(night.open()).release(2, "night")
    looks(second)
    assert take_turn(first.open(), "made") == 3
    Lease.of(first.open()).release(3, "first")
    world.clock.sleep(GONE + 1)
    assert take_turn(world.job("late", Kind.COMMAND).open(), "made") == 4


def test_a_dry_run_stands_in_no_line(sliced: World) -> None:
    """It needs no lease, and so waits for nobody."""
    sliced.job("b", Kind.BACKFILL, resend=True).read().plan()
    began = sliced.clock.time()
    shown = sliced.job("d", Kind.BACKFILL, resend=True, dry_run=True).read().plan()
    assert (shown["rows"], shown["batches"], shown["groups"], sliced.clock.time()) == (6, 3, [], began)
