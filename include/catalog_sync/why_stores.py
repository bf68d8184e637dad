"""A SKU in all its stores at once, a line for each: what the last run that read the store has found of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from catalog_sync import journal, trace
from catalog_sync.run import Kind
from catalog_sync.verdicts import Verdict, explain
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


def lines(stores: Sequence[str], last: dict[str, Run], sku: str, now: Now, events: Sequence[Row]) -> Iterator[Row]:
    """Yield the line of each store: ``store_id``, ``run_id`` (which run it is told of), and what ``why`` says of it."""
    readings: dict[str, Reading] = {}
    for store in stores:
        here, one = now.of(store), last.get(store)
        reading = None
        if one is not None:
            reading = readings.get(one.run_id) or Reading.of(one, sku, events)
            readings[one.run_id] = reading
        verdict, mine = reading.verdict(store, here) if reading else (here.standing(), [])
        codes = [event["code"] for event in mine if event["code"]]
        told = explain(verdict, codes, mine[0]["message"] if mine else "")
        yield {"store_id": store, "run_id": one.run_id if one else None, **told, **here.told()}


@dataclass(frozen=True)
class Reading:
    """What one run has found of a SKU, in every store.

    :param books: empty while the run is at work.
    :param events: what has become of it, or is known to.
    :param read: the stores that had rows; ``left``: those in which none was this SKU's, though Amazon has it.
    """

    run: Run
    sku: str
    books: Row
    events: list[Row]
    read: frozenset[str]
    left: frozenset[str]

    @classmethod
    def of(cls, run: Run, sku: str, events: Sequence[Row]) -> Reading:
        """Read it.

        :param events: of the table, of any runs and of this SKU.
        """
        books, shards = journal.books_of(run), [made for made in trace.shards(run) if made]
        known = [event for event in events if event["run_id"] == run.run_id]
        if not books:  # the run's events are written when it settles
            told = {event["store_id"] for event in known}
            plan = [run.plan] if run.lake.exists(run.key("plan.json")) else []
            known += [event for event in trace.said(run, [*shards, *plan], sku) if event["store_id"] not in told]
        return cls(run, sku, books, known, trace.read_stores(run), trace.left_in(run, shards, sku))

    def verdict(self, store: str, now: Now) -> tuple[Verdict, list[Row]]:
        """Return the verdict of the item in a store, and the events that it follows from."""
        mine = [event for event in self.events if event["store_id"] == store]
        if mine:
            return now.after(mine), mine
        if not self.books:
            return Verdict.UNDER_WAY, mine
        if self.books["stores"].get(store, {}).get("unsent") and self._planned(store):
            return Verdict.UNSENT, mine
        # A rollback reads what Amazon had: that an item came later does not mean that it has left.
        if self.run.options.kind is not Kind.ROLLBACK and (store in self.left or store not in self.read):
            return now.gone(), mine
        return now.standing(), mine

    def _planned(self, store: str) -> bool:
        return trace.planned(self.run, self.run.plan["batch_list"], store, self.sku) is not None
