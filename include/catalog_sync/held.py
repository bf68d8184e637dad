"""What guards hold: which rows, since when, and the hash that a person approves.

Nothing held is lost: the next plan derives it again. The table ``held`` only remembers since when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from catalog_sync.clock import utc
from catalog_sync.diff import Action
from catalog_sync.fields import KEY
from catalog_sync.guards import EVERYWHERE, Guard, Trip
from catalog_sync.keyed import within, without
from catalog_sync.tables import ARCHIVE, HELD, Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: What is approved: these rows, with this content, for this purpose.
IDENTITY = [*KEY, "content_hash", "action"]
#: The columns of held rows.
GUARDED = dict.fromkeys([*IDENTITY, "code"], pl.String())
_CODES = [guard.value for guard in Guard]
#: What each guard holds, of the rows that are due.
_PART = {
    Guard.CHANGED: pl.col("action") == Action.CHANGED,
    Guard.NEW: pl.col("action").is_in([Action.NEW.value, Action.REACTIVATED.value]),
    Guard.PRICES: pl.col("price_moved"),
    Guard.REJECTED: pl.col("action") != Action.RESENT,
    Guard.ROLLBACK: pl.col("action") == Action.ARCHIVED,
    Guard.ARCHIVED: pl.col("action") == Action.ARCHIVED,
}


def hold(candidates: pl.DataFrame, trips: Sequence[Trip], adopted: Iterable[str]) -> pl.DataFrame:
    """Return the candidates with the code of the first guard that holds them in ``hold``, unless they have one.

    A guard on all stores spares the stores that are not adopted, where it judges what a first load brings.
    """
    known, stores = list(adopted), set(candidates["store_id"].unique())
    # Side by side: an expression that held the one before it twice would double with each trip.
    codes = [pl.when(pl.col("hold") != "").then("hold")]
    for trip in trips:
        here = pl.col("store_id") == trip.store
        if trip.store == EVERYWHERE:
            spared = trip.code in (Guard.NEW, Guard.REJECTED)
            here = pl.col("store_id").is_in(known) if spared else pl.lit(True)
        elif trip.store not in stores:
            continue
        codes.append(pl.when(here & _PART[Guard(trip.code)]).then(pl.lit(trip.code)))
    return candidates.with_columns(hold=pl.coalesce(*codes, pl.lit("")))


def release(candidates: pl.DataFrame, approved: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates that were approved and are still identical, held by no guard any more.

    :param approved: ``IDENTITY`` of the rows.
    """
    same = candidates.join(approved.select(IDENTITY).unique(), on=IDENTITY, how="semi", maintain_order="left")
    guarded = pl.col("hold").is_in(_CODES)
    return same.with_columns(hold=pl.when(guarded).then(pl.lit("")).otherwise("hold"))


def guarded(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``IDENTITY`` and ``code`` of the rows that a guard holds, sorted by store and SKU."""
    held = rows.filter(pl.col("hold").is_in(_CODES))
    return held.select(*IDENTITY, code="hold").sort(KEY)


def digests(held: pl.DataFrame) -> dict[str, str]:
    """Return for each store the hash of its held rows, whatever their order."""
    made = {}
    for (store,), rows in held.partition_by("store_id", as_dict=True).items():
        lines = rows.sort(IDENTITY).select(pl.concat_str(IDENTITY, separator="\t")).to_series()
        made[str(store)] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return made


def digest_of(stores: Mapping[str, str]) -> str:
    """Return the hash that names a held set, from those of its stores; the same rows have the same one."""
    return hashlib.sha256("\n".join(f"{store}\t{one}" for store, one in sorted(stores.items())).encode()).hexdigest()


def since(run: Run, held: pl.DataFrame, stores: Sequence[str]) -> pl.DataFrame:
    """Return the held rows as lines of the table ``held``: what was held before keeps the time when that began."""
    known = Tables(run.lake).read("held", stores, [*IDENTITY, "first_held_at", "run_id"])
    now = {"first_held_at": pl.lit(utc(run.clock.time())), "run_id": pl.lit(run.run_id)}
    joined = held.join(known, on=IDENTITY, how="left", maintain_order="left")
    return joined.with_columns(pl.col(name).fill_null(value) for name, value in now.items()).select(list(HELD))


def forget(run: Run, rows: pl.DataFrame, stores: Sequence[str]) -> None:
    """Take rows that are not due any more as they were held out of the table ``held``."""
    tables = Tables(run.lake)
    if len(rows) and tables.version("held") is not None:
        tables.replace("held", stores, lambda before: without(before, rows, IDENTITY))


def settled(before: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return the held rows without those that Amazon has acknowledged or refused since.

    Only that ends their being held: a release that is not sent, or fails, leaves them as old as they are.

    :param before: rows of the table ``held``.
    :param outcomes: rows as ``outcomes.outcomes_of`` returns them.
    """
    told = outcomes.filter(pl.col("outcome").is_in(["acknowledged", "refused"]))
    archived = pl.col("action") == Action.ARCHIVED
    is_archive = pl.col("content_hash") == ARCHIVE
    sent = within(before.filter(~archived), told.filter(~is_archive), [*KEY, "content_hash"])
    gone = within(before.filter(archived), told.filter(is_archive))
    return without(before, pl.concat([sent, gone]), IDENTITY)


def nothing_is_held(run: Run) -> bool:
    """Tell whether guards hold no row of any configured store now."""
    return Tables(run.lake).read("held", list(run.stores), ["code"]).is_empty()


def remember(
    run: Run, lines: pl.DataFrame, stores: Sequence[str], covered: pl.DataFrame | None, elsewhere: pl.Expr
) -> None:
    """Make the lines what the table ``held`` says of these stores.

    :param covered: the rows that the run is about; ``None`` when it is about all. Others stay as they are.
    :param elsewhere: whether a row is one that another run has read later; it stays as it is, too.
    """
    tables = Tables(run.lake)
    if not stores or (lines.is_empty() and tables.version("held") is None):
        return

    def replaced(before: pl.DataFrame) -> pl.DataFrame:
        mine = before.filter(~elsewhere) if covered is None else within(before.filter(~elsewhere), covered)
        return pl.concat([without(before, mine), lines]).sort(KEY)

    tables.replace("held", stores, replaced)
