"""What an error's text may show of a value."""

from __future__ import annotations

import pytest

from catalog_sync.errors import shorten

DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b\n\ud800b", "a\ufffd\ufffd\ufffdb"),
        ("x" * 100, "x" * 79 + "…"),
        (None, "None"),
        (10**5000, "a int that cannot be shown"),
        (DEEP, "a list that cannot be shown"),
    ],
    ids=["signs", "long", "none", "digits", "deep"],
)
def test_any_value_can_be_shown(value: object, shown: str) -> None:
    """One printable line of bounded length, also of what Python itself cannot write as text."""
    assert shorten(value) == shown
