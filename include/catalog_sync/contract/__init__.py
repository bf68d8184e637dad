"""The contract: what a row must be to be sent. Its codes cost nothing to import; its rules bring Polars with them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog_sync.contract.apply import ContractResult, apply_contract

__all__ = ["ContractResult", "apply_contract"]


def __getattr__(name: str) -> Any:
    """Import the rules when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("catalog_sync.contract.apply"), name)
