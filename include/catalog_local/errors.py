"""What can go wrong with the local deployment."""

from __future__ import annotations


class LocalError(Exception):
    """The local deployment cannot do what was asked; the text says why and what to do."""
