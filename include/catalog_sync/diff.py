"""What differs between the retailer's rows and what Amazon acknowledged.

"Unchanged" means: the hash of the item as it would be sent equals the acknowledged one, the item is active, and
nothing about it is in doubt. Everything else is a candidate to be sent, or is suspended because Amazon keeps refusing
it.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import polars as pl

from catalog_sync.clock import utc
from catalog_sync.fields import KEY

#: A row refused by this many distinct ingestions with the same content is suspended …
SUSPEND_AFTER = 3
#: … for this long after the last refusal.
SUSPEND_FOR = timedelta(days=7)
#: A row that was refused fewer times rests for this long: it is tried again by the next night, not by the next run.
REST_FOR = timedelta(hours=12)


class Action(StrEnum):
    """What a row needs. ``archived`` is not found by ``diff``: a row that is in no source has left (``leaving``)."""

    NEW = "new"
    CHANGED = "changed"
    REACTIVATED = "reactivated"
    RESENT = "resent"
    UNCHANGED = "unchanged"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"


def diff(
    items: pl.DataFrame,
    acknowledged: pl.DataFrame,
    refusals: pl.DataFrame,
    in_doubt: pl.DataFrame,
    now: float,
    resend: bool = False,
) -> pl.DataFrame:
    """Return ``items`` with a column ``action`` (see ``Action``).

    :param items: rows with ``store_id``, ``item_sku``, ``content_hash`` and ``holder`` (the other SKU that holds the
        row's barcode at Amazon, ``""`` for none).
    :param acknowledged: ``store_id``, ``item_sku``, ``content_hash``, ``state``, ``dirty_until`` of these stores.
    :param refusals: the ``refusals`` table of these stores.
    :param in_doubt: ``store_id``, ``item_sku`` of attempts whose end is not known; they are never unchanged.
    :param now: seconds since the epoch.
    :param resend: treat every row as different, and release the suspended ones: a person asks for it.
    """
    known = acknowledged.select(
        *KEY,
        pl.col("content_hash").alias("_hash"),
        pl.col("state").alias("_state"),
        pl.col("dirty_until").alias("_dirty"),
    )
    suspended = refusals.filter(rests(now) & pl.lit(not resend)).select(*KEY, "content_hash", "holder", _suspended=True)
    doubtful = in_doubt.select(*KEY).unique().with_columns(_doubt=pl.lit(True))
    on = list(KEY)
    joined = (
        items.select(*KEY, "content_hash", "holder")
        .join(known, on=on, how="left", maintain_order="left")
        .join(doubtful, on=on, how="left", maintain_order="left")
        .join(suspended, on=[*on, "content_hash", "holder"], how="left", maintain_order="left")
    )
    same = (pl.col("_hash") == pl.col("content_hash")) & (pl.col("_state") == "ACTIVE")
    proven = pl.col("_dirty").is_null() & pl.col("_doubt").is_null() & pl.lit(not resend)
    action = (
        pl.when(same & proven).then(pl.lit(Action.UNCHANGED.value))
        .when(pl.col("_suspended").fill_null(False)).then(pl.lit(Action.SUSPENDED.value))
        .when(pl.col("_hash").is_null()).then(pl.lit(Action.NEW.value))
        .when(pl.col("_state") == "ARCHIVED").then(pl.lit(Action.REACTIVATED.value))
        .when(pl.col("_hash") != pl.col("content_hash")).then(pl.lit(Action.CHANGED.value))
        .otherwise(pl.lit(Action.RESENT.value))
    )  # fmt: skip
    return items.hstack(joined.select(action=action))


def rests(now: float) -> pl.Expr:
    """Return whether a refusal is too young to ask again: after three for a week, before that until the next night."""
    often = pl.col("ingestion_ids").list.n_unique() >= SUSPEND_AFTER
    since = pl.when(often).then(pl.lit(utc(now) - SUSPEND_FOR)).otherwise(pl.lit(utc(now) - REST_FOR))
    return pl.col("last_seen") > since
