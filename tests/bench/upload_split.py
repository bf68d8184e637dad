"""One upload of a full batch in a process of its own, and where its CPU seconds go."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.bench.child import tell
from tests.bench.place import Place


class Account:
    """CPU seconds by part; what one part calls of another is the other's."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def of(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, accounted for."""

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                whole = time.process_time() - began
                self.spent[part] += whole - self._inner.pop()
                self._inner[-1] += whole

        return timed


def _open(place: Place, run_id: str) -> Any:
    from tests.bench.deployment import open_run

    from catalog_sync.upload import api_of

    run = open_run(place, run_id)
    return run, api_of(run)


def _import() -> None:
    import boto3  # noqa: F401

    import catalog_sync.lake
    import catalog_sync.ledger
    import catalog_sync.upload  # noqa: F401


def measured(place: Place, run_id: str) -> dict[str, Any]:
    """Send batch 1 of the run's plan; return the CPU seconds of each part, and of the whole."""
    account, began = Account(), time.process_time()
    account.of("imports", _import)()
    run, api = account.of("clients", lambda: _open(place, run_id))()

    from catalog_sync.api.client import CatalogApi
    from catalog_sync.api.signing import Signer
    from catalog_sync.lake import Lake
    from catalog_sync.ledger import LedgerTable
    from catalog_sync.upload import upload

    for part, kind, name in (
        ("ledger", LedgerTable, "_call"), ("payload", Lake, "get"), ("payload", Lake, "get_compressed"),
        ("request", CatalogApi, "_post"), ("request", Signer, "prepare"),
    ):  # fmt: skip
        setattr(kind, name, account.of(part, getattr(kind, name)))
    sent = account.of("the rest", upload)(run, [1], api)
    return {"items": sent["items"], "cpu": dict(account.spent), "whole": time.process_time() - began}


if __name__ == "__main__":
    tell(lambda: measured(Place.of(sys.argv[1]), sys.argv[2]))
