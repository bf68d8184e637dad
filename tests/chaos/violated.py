"""What the oracle says when an invariant does not hold."""

from __future__ import annotations

from typing import NoReturn


class Violated(AssertionError):
    """An invariant does not hold."""


def violated(message: str) -> NoReturn:
    """Raise ``Violated``."""
    raise Violated(message)
