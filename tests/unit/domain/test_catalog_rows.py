"""How outcomes change the acknowledged catalog and the refusals (I1, I4)."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import polars as pl
import pytest

from catalog_sync.catalog_rows import refused, replaced
from catalog_sync.clock import utc
from catalog_sync.fields import ADDITIONAL, TEXT_FIELDS
from catalog_sync.payload import BARCODES
from catalog_sync.tables import ACKNOWLEDGED, REFUSALS, TIME

NOW = 1_790_000_000.0
OUTCOME = {
    **{field: pl.String for field in TEXT_FIELDS}, ADDITIONAL: BARCODES, "content_hash": pl.String, "run_id": pl.String,
    "attempt": pl.String, "plan_number": pl.Int64, "ingestion_id": pl.String, "sent_at": TIME, "resolved_at": TIME,
    "outcome": pl.String, "code": pl.String, "message": pl.String, "until": TIME, "proof_from": pl.Int64,
}  # fmt: skip


def outcome(
    plan: int, content: str, what: str, sent: float = 0, resolved: float = 0, sku: str = "1", **more: Any
) -> dict:
    """An outcome of one row; times are seconds after NOW, by default in the order of the plans."""
    sent, resolved = sent or plan * 100, resolved or plan * 100 + 10
    return {
        **dict.fromkeys(TEXT_FIELDS, ""), ADDITIONAL: [], "item_sku": sku, "store_id": "A", "item_name": content,
        "external_product_id": "4011", "content_hash": content, "run_id": f"r{plan}", "attempt": "00001-0001",
        "plan_number": plan, "ingestion_id": f"i{plan}", "sent_at": utc(NOW + sent), "resolved_at": utc(NOW + resolved),
        "outcome": what, "code": "", "message": "", "until": utc(NOW + resolved),
        "proof_from": plan if what == "unknown" else plan + 1, **more,
    }  # fmt: skip


def frame(*rows: dict) -> pl.DataFrame:
    """Outcomes as a frame."""
    return pl.DataFrame(list(rows), schema=OUTCOME)


EMPTY = pl.DataFrame(schema=ACKNOWLEDGED)


def after(*steps: pl.DataFrame) -> list[tuple]:
    """What stands after settling the given frames one after the other: (sku, content, plan, dirty_until)."""
    rows = EMPTY
    for step in steps:
        rows = replaced(rows, step, NOW)
    return rows.select("item_sku", "content_hash", "plan_number", "dirty_until").rows()


def test_only_an_acknowledged_row_counts() -> None:
    """I1: refused, failed and unknown rows that were never acknowledged do not stand."""
    assert (
        after(
            frame(outcome(1, "a", "refused"), outcome(1, "b", "failed", sku="2"), outcome(1, "c", "unknown", sku="3"))
        )
        == []
    )
    assert after(frame(outcome(1, "a", "acknowledged"))) == [("1", "a", 1, None)]


def test_a_newer_acknowledgement_replaces_an_older_one() -> None:
    """The row with the higher plan number stands."""
    assert after(frame(outcome(1, "a", "acknowledged")), frame(outcome(2, "b", "acknowledged"))) == [
        ("1", "b", 2, None)
    ]


def test_an_older_outcome_never_overwrites_a_newer_row() -> None:
    """An acknowledgement settled late but resolved before the newer one was sent changes nothing."""
    old = outcome(1, "a", "acknowledged")
    assert after(frame(outcome(2, "b", "acknowledged")), frame(old)) == [("1", "b", 2, None)]


def test_an_older_attempt_that_resolves_after_a_newer_was_sent_makes_the_row_dirty() -> None:
    """Nobody knows which of the two Amazon applied last, in whichever order they are settled."""
    late = outcome(1, "a", "acknowledged", resolved=205)
    newer = outcome(2, "b", "acknowledged", sent=200, resolved=210)
    assert after(frame(late), frame(newer)) == [("1", "b", 2, 3)]
    assert after(frame(newer), frame(late)) == [("1", "b", 2, 3)]
    assert after(frame(late, newer)) == [("1", "b", 2, 3)]
    assert after(frame(late), frame(newer), frame(outcome(3, "b", "acknowledged"))) == [("1", "b", 3, None)]


@pytest.mark.parametrize("what", ["failed", "unknown"])
def test_an_older_attempt_that_may_be_applied_after_a_newer_was_sent_makes_the_row_dirty(what: str) -> None:
    """FATAL may be applied half, and what has no result until the horizon: perhaps later than the newer row."""
    late = outcome(1, "a", what, resolved=205)
    newer = outcome(2, "b", "acknowledged", sent=200, resolved=210)
    assert after(frame(newer), frame(late)) == [("1", "b", 2, 3)]
    assert after(frame(newer), frame({**late, "until": utc(NOW + 199)})) == [("1", "b", 2, None)]
    assert after(frame(newer), frame({**late, "content_hash": "b"})) == [("1", "b", 2, None)]


def test_a_plan_that_was_sent_before_an_older_one_failed_proves_nothing() -> None:
    """Plan 2 ended FATAL while plan 3 was under way: only a plan made after that is a proof, in whichever order."""
    base = frame(outcome(1, "a", "acknowledged"))
    fatal = frame(outcome(2, "b", "failed", resolved=305, proof_from=4))
    newer = frame(outcome(3, "c", "acknowledged", sent=300, resolved=310))
    assert after(base, fatal, newer) == [("1", "c", 3, 4)]
    assert after(base, newer, fatal) == [("1", "c", 3, 4)]
    assert after(base, fatal, newer, frame(outcome(4, "c", "acknowledged"))) == [("1", "c", 4, None)]


@pytest.mark.parametrize(("what", "dirty"), [("failed", 3), ("unknown", 2)])
def test_a_newer_failure_makes_the_standing_row_dirty(what: str, dirty: int) -> None:
    """Amazon may have applied it, wholly or half; a failed plan needs a newer proof, an unknown one its own report."""
    assert after(frame(outcome(1, "a", "acknowledged")), frame(outcome(2, "b", what))) == [("1", "a", 1, dirty)]


def test_a_late_report_of_an_unknown_attempt_cleans_the_row() -> None:
    """UNKNOWN, then DONE: the row stands as reported."""
    steps = [
        frame(outcome(1, "a", "acknowledged")),
        frame(outcome(2, "b", "unknown")),
        frame(outcome(2, "b", "acknowledged")),
    ]
    assert after(*steps) == [("1", "b", 2, None)]


def test_a_failed_plan_is_not_cleaned_by_its_own_number() -> None:
    """A FATAL upload may be applied half; only a newer plan's acknowledgement proves the row."""
    base = [frame(outcome(1, "a", "acknowledged")), frame(outcome(2, "b", "failed"))]
    assert after(*base, frame(outcome(3, "b", "acknowledged"))) == [("1", "b", 3, None)]


def test_a_refused_update_leaves_the_old_row() -> None:
    """U35: what Amazon refused changes nothing that stands."""
    assert after(frame(outcome(1, "a", "acknowledged")), frame(outcome(2, "b", "refused"))) == [("1", "a", 1, None)]


STORY = (
    frame(outcome(1, "a", "acknowledged", resolved=205), outcome(1, "x", "acknowledged", sku="2")),
    frame(outcome(2, "b", "acknowledged", sent=200), outcome(2, "y", "unknown", sku="2")),
    frame(outcome(3, "c", "failed"), outcome(2, "y", "acknowledged", sku="2")),
)


@pytest.mark.parametrize("prefix", range(len(STORY) + 1))
def test_replaying_any_prefix_changes_nothing(prefix: int) -> None:
    """Settling may die and begin again at any point."""
    assert after(*STORY[:prefix], *STORY) == after(*STORY)
    assert after(*STORY, *STORY[:prefix]) == after(*STORY)


def test_rows_stay_sorted_and_unique() -> None:
    """However outcomes arrive, a key has one row and rows are sorted by SKU."""
    rows = [outcome(n, f"c{n}", "acknowledged", sku=str(n % 3)) for n in range(1, 7)]
    for order in permutations(range(0, 6, 2)):
        skus = [row[0] for row in after(*(frame(rows[i], rows[i + 1]) for i in order))]
        assert skus == ["0", "1", "2"]


def refusals(*steps: pl.DataFrame) -> list[tuple]:
    """What stands in ``refusals`` after the frames: (content, ingestion ids, code)."""
    rows = pl.DataFrame(schema=REFUSALS)
    for step in steps:
        rows = refused(rows, step, EMPTY)
    return rows.select("content_hash", "ingestion_ids", "code").rows()


def test_distinct_ingestions_of_the_same_content_add_up() -> None:
    """The same refusal settled twice counts once; another content counts for itself."""
    no = frame(outcome(1, "a", "refused", code="X"))
    again = frame(outcome(2, "a", "refused", code="Y"))
    other = frame(outcome(3, "b", "refused", code="Z"))
    assert refusals(no, no, again, other) == [("a", ["i1", "i2"], "Y"), ("b", ["i3"], "Z")]


def test_an_acknowledgement_ends_the_refusals_of_its_content() -> None:
    """What Amazon took after all is refused no longer."""
    no, yes = frame(outcome(1, "a", "refused")), frame(outcome(2, "a", "acknowledged"))
    assert refusals(no, yes) == []
    assert refusals(no, yes, frame(outcome(3, "a", "refused"))) == [("a", ["i3"], "")]
