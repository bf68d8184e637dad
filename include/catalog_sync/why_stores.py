"""A SKU in all its stores at once, a line for each: what the last run that read the store has found of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from catalog_sync import journal, trace
from catalog_sync.run import Kind
from catalog_sync.tables import Tables, unsent_part
from catalog_sync.verdicts import Verdict, explain, of_events, of_requests
from catalog_sync.why_now import Now

if TYPE_CHECKING:
    from catalog_sync.run import Run

Row = dict[str, Any]


def lasts(run: Run, stores: Sequence[str], sku: str, about: Collection[str]) -> dict[str, Run]:
    """Return, for each of the stores, the last run that read it; a store that no run has read is missing.

    :param about: runs that are known to have been about the SKU.
    """
    found: dict[str, Run] = {}
    for one in journal.that_read(run, stores[0] if len(stores) == 1 else "", sku, about):
        asked = one.options.stores
        found = {**{store: one for store in stores if not asked or store in asked}, **found}
        if len(found) == len(stores):
            break
    return found


def store_lines(
    stores: Sequence[str], last: dict[str, Run], sku: str, now: Now, events: Sequence[Row]
) -> Iterator[Row]:
    """Yield the line of each store: ``store_id``, ``run_id`` (of the run that tells it) and what ``why`` says of it."""
    readings = {one.run_id: Reading.of(one, sku, events) for one in {one.run_id: one for one in last.values()}.values()}
    for store in stores:
        here, run_id = now.of(store), last[store].run_id if store in last else None
        verdict, mine = readings[run_id].verdict(store, here) if run_id else (here.standing(), [])
        codes = [event["code"] for event in mine if event["code"]]
        told = explain(verdict, codes, mine[0]["message"] if mine else "")
        if verdict is Verdict.UNDER_WAY:
            told["advice"] += " Asked for with its store, the answer tells how far the item has come."
        yield {"store_id": store, "run_id": run_id, **told, **here.told()}


def expected(run: Run) -> float:
    """Return within how many seconds Amazon's report is expected."""
    return run.settings.results.expect.total_seconds()


@dataclass(frozen=True)
class Reading:
    """What one run has found of a SKU, in every store.

    :param books: empty while the run is at work.
    :param events: what has become of it, or is known to.
    """

    run: Run
    sku: str
    books: Row
    events: list[Row]

    @classmethod
    def of(cls, run: Run, sku: str, events: Sequence[Row]) -> Reading:
        """Read it.

        :param events: of the table, of any runs and of this SKU.
        """
        books = journal.books_of(run)
        plan = run.plan if run.lake.exists(run.key("plan.json")) else {}
        known = [event for event in events if event["run_id"] == run.run_id]
        if not Tables(run.lake).has_part("events", unsent_part(run.run_id)):
            told = {event["store_id"] for event in known}
            made = [one for one in [*trace.shards(run), plan] if one]
            known += [event for event in trace.said(run, made, sku) if event["store_id"] not in told]
        # Books that were made before there was a plan tell nothing of what came of it.
        return cls(run, sku, books if books.get("plan") else {}, known)

    def verdict(self, store: str, now: Now) -> tuple[Verdict, list[Row]]:
        """Return the verdict of the item in a store, and the events that it follows from."""
        mine = [event for event in self.events if event["store_id"] == store]
        if mine:
            return of_events(mine), mine
        if not self.books:
            return Verdict.UNDER_WAY, mine
        if self._may_be_open(store) and (place := trace.planned(self.run, self._batches, store, self.sku)):
            requests = trace.attempts(self.run, place[0], store, place[1])
            return of_requests(requests, True, self.run.clock.time(), expected(self.run)), mine
        # A rollback reads what Amazon had: that an item came later does not mean that it has left.
        if self.run.options.kind is Kind.ROLLBACK:
            return now.standing(), mine
        here = now.acknowledged and store in self._read and store not in self._left
        return now.standing() if here else now.gone(), mine

    def _may_be_open(self, store: str) -> bool:
        """Tell whether the books miss the end of a row of the store, or of a SKU's archive."""
        lines = self.books["stores"].get(store, {}), self.books.get("archives", {})
        return any(line.get(end) for line in lines for end in ("unsent", "failed", "unknown"))

    @cached_property
    def _batches(self) -> list[Row]:
        return list(self.run.plan["batch_list"])

    @cached_property
    def _read(self) -> frozenset[str]:
        """The stores of which the run has read rows."""
        return trace.read_stores(self.run)

    @cached_property
    def _left(self) -> frozenset[str]:
        """The stores in which Amazon has the SKU, or may have it, and no source had it."""
        return trace.left_in(self.run, trace.shards(self.run), self.sku)
