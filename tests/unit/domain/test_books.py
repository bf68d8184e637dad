"""Invariant I6: the books balance, or say where they do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog_sync import books

COUNTS = st.integers(0, 10_000)


@st.composite
def balanced(draw: st.DrawFn) -> dict[str, int]:
    """A line of the books that balances."""
    sent_parts = {column: draw(COUNTS) for column in books.SENT_INTO}
    sent, unsent = sum(sent_parts.values()), draw(COUNTS)
    read_parts = {column: draw(COUNTS) for column in books.READ_INTO if column != "planned"}
    planned = sent + unsent
    return {
        "read": planned + sum(read_parts.values()), **read_parts, "planned": planned, "sent": sent, "unsent": unsent,
        **sent_parts,
    }  # fmt: skip


@settings(derandomize=True, max_examples=50)
@given(st.dictionaries(st.sampled_from(["A", "B", "–"]), balanced()))
def test_balanced_lines_have_no_problem(stores: dict[str, dict[str, int]]) -> None:
    """Lines whose parts add up to their wholes balance, per store and in all."""
    assert books.problems(stores) == []


@settings(derandomize=True, max_examples=100)
@given(balanced(), st.sampled_from(books.COLUMNS), st.integers(1, 5))
def test_one_row_too_many_is_found(one: dict[str, int], column: str, extra: int) -> None:
    """A row more in any single column is a problem of its store and of all stores."""
    found = books.problems({"A": {**one, column: one[column] + extra}})
    assert any(text.startswith("A: ") for text in found)
    assert any(text.startswith("all stores: ") for text in found)


def test_a_negative_count_is_a_problem() -> None:
    """Two errors that cancel each other out do not hide."""
    one = books.line({"read": 1, "rejected": 2, "unchanged": -1})
    assert "A: unchanged = -1, less than nothing" in books.problems({"A": one})


def test_an_unknown_column_is_refused() -> None:
    """A count that has no column is an error, not a silent loss."""
    with pytest.raises(ValueError, match="no column lost"):
        books.line({"lost": 3})


def test_the_catalog_must_grow_by_what_was_new() -> None:
    """An item that is active without having been new, reactivated or archived is a problem."""
    store = {"active_before": 10, "new": 2, "reactivated": 1, "archived": 3, "active_after": 10}
    assert books.catalog_problems({"A": store}) == []
    assert books.catalog_problems({"A": {**store, "active_after": 11}})[0].startswith(
        "A: 11 active items, but 10 before"
    )


def test_markdown_leaves_out_columns_that_are_zero_throughout() -> None:
    """The table shows what happened, with thousands separated, and a line for all stores."""
    one = books.line({"read": 1200, "unchanged": 1200})
    text = books.as_markdown({"stores": {"A": one}, "total": one})
    assert text.splitlines()[0] == "| store | read | unchanged |"
    assert text.splitlines()[-1] == "| **all** | 1,200 | 1,200 |"
