"""Batches: by items and by bytes (jwo-api: at most 10,000 items; bytes are our own bound)."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog_sync.payload import body
from catalog_sync.plan import cut


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 12), st.integers(40, 200))
def test_every_item_is_in_one_batch_within_both_limits(sizes: list[int], max_items: int, max_bytes: int) -> None:
    """Batches are neighbours without gap or overlap; a body over the limit holds a single item."""
    pieces = list(cut(pl.Series(sizes, dtype=pl.UInt32), max_items, max_bytes))
    assert [p for piece in pieces for p in range(*piece)] == list(range(len(sizes)))
    for start, stop in pieces:
        payload = body(pl.Series(["x" * size for size in sizes[start:stop]]))
        assert stop - start <= max_items
        assert len(payload) <= max_bytes or stop - start == 1


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 12), st.integers(100, 200))
def test_batches_are_as_full_as_the_item_limit_allows(sizes: list[int], max_items: int, max_bytes: int) -> None:
    """With bytes to spare, all batches but the last are full."""
    pieces = list(cut(pl.Series(sizes, dtype=pl.UInt32), max_items, 1_000_000))
    assert len(pieces) == -(-len(sizes) // max_items)


def test_no_items_make_no_batch() -> None:
    """An empty plan has no batches."""
    assert list(cut(pl.Series([], dtype=pl.UInt32), 10, 100)) == []
