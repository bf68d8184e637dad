"""The rules by which outcomes change the acknowledged catalog and the refusals: pure functions of frames."""

from __future__ import annotations

import polars as pl

from catalog_sync.barcodes import gtin14s
from catalog_sync.clock import utc
from catalog_sync.fields import BARCODE_FIELDS, KEY
from catalog_sync.keyed import repeated, within, without
from catalog_sync.payload import ITEM
from catalog_sync.tables import ACKNOWLEDGED, ARCHIVE, REFUSALS

_ON = list(KEY)
#: What a row that stands is at Amazon: its content, or that it is archived.
_CONTENT = pl.when(pl.col("state") == "ARCHIVED").then(pl.lit(ARCHIVE)).otherwise(pl.col("content_hash"))


def replaced(before: pl.DataFrame, outcomes: pl.DataFrame, now: float) -> pl.DataFrame:
    """Return the acknowledged rows of some stores after the outcomes, sorted by store and SKU.

    - An acknowledged row replaces what stands, unless what stands has a higher plan number.
    - A failed or unknown outcome of a newer plan leaves the row but makes it dirty: nobody knows what Amazon has now.
    - When an older attempt resolved after a newer one with other content was sent, the row is dirty too: Amazon
    promises no order (U24).
    - A refused row stays as it was (U35).
    - An archive that was acknowledged archives what stands, in each store that it was asked for; it makes no rows.

    :param before: rows of the ``acknowledged`` table.
    :param outcomes: rows as ``outcomes.outcomes_of`` returns them; several for a key are applied in the order of their
        plans.
    """
    after, rest = before, outcomes
    if len(repeated(rest)):
        rest = rest.sort("plan_number", "attempt")
    while len(rest):
        first = pl.struct(_ON).is_first_distinct()
        after, rest = _turn(after, rest.filter(first), now), rest.filter(~first)
    return after.select(list(ACKNOWLEDGED)).sort(_ON)


def _turn(before: pl.DataFrame, outcomes: pl.DataFrame, now: float) -> pl.DataFrame:
    """Apply outcomes of which each key has at most one."""
    new = outcomes.select(
        *_ON, "outcome", _hash="content_hash", _plan="plan_number", _until="until", _proof="proof_from"
    )  # fmt: skip
    joined = before.join(new, on=_ON, how="left")
    newer = pl.col("_plan") > pl.col("plan_number")
    differs = pl.col("_hash") != _CONTENT
    acknowledged = pl.col("outcome") == "acknowledged"
    broken = pl.col("outcome").is_in(["failed", "unknown"])
    late = (
        (acknowledged | broken)
        & differs
        & (pl.col("_until") > pl.col("sent_at"))
        & (pl.col("_plan") < pl.col("plan_number"))
    )
    dirty = (
        pl.when(broken & newer).then(pl.col("_proof"))
        .when(late).then(pl.max_horizontal(pl.col("plan_number") + 1, "_proof"))
    )  # fmt: skip
    kept = joined.with_columns(dirty_until=pl.max_horizontal("dirty_until", dirty))
    replaces = (acknowledged & (pl.col("_plan") >= pl.col("plan_number"))).fill_null(False)
    fresh = pl.concat([_acknowledged(outcomes, before, now), _archived(outcomes, before, now)])
    kept = kept.filter(~replaces).select(list(ACKNOWLEDGED))
    return pl.concat([kept, without(fresh, kept)])


def _acknowledged(outcomes: pl.DataFrame, before: pl.DataFrame, now: float) -> pl.DataFrame:
    """Return the rows that were acknowledged, as they will stand."""
    standing = before.select(
        *_ON, _old_dirty="dirty_until", _old_hash=_CONTENT, _old_resolved="resolved_at", _old_plan="plan_number"
    )  # fmt: skip
    rows = outcomes.filter((pl.col("outcome") == "acknowledged") & (pl.col("content_hash") != ARCHIVE))
    return _standing(rows.join(standing, on=_ON, how="left"), "ACTIVE", now).select(list(ACKNOWLEDGED))


def _archived(outcomes: pl.DataFrame, before: pl.DataFrame, now: float) -> pl.DataFrame:
    """Return the rows that stood and were archived, as they will stand: with what they were until then."""
    said = ["plan_number", "ingestion_id", "sent_at", "resolved_at", "proof_from"]
    yes = outcomes.filter((pl.col("outcome") == "acknowledged") & (pl.col("content_hash") == ARCHIVE))
    rows = before.select(
        *_ON, *(field for field in ITEM if field not in _ON), _hash="content_hash", _old_hash=_CONTENT,
        _old_dirty="dirty_until", _old_resolved="resolved_at", _old_plan="plan_number",
    ).join(yes.select(*_ON, "content_hash", *said), on=_ON)  # fmt: skip
    return _standing(rows, "ARCHIVED", now).with_columns(content_hash="_hash").select(list(ACKNOWLEDGED))


def _standing(rows: pl.DataFrame, state: str, now: float) -> pl.DataFrame:
    """Return the acknowledged rows as they will stand, dirty where older attempts leave them so."""
    still_dirty = pl.when(pl.col("_old_dirty") > pl.col("plan_number")).then(pl.col("_old_dirty"))
    overtaken = pl.when(
        (pl.col("_old_hash") != pl.col("content_hash"))
        & (pl.col("_old_plan") < pl.col("plan_number"))
        & (pl.col("_old_resolved") > pl.col("sent_at"))
    ).then(pl.max_horizontal(pl.col("plan_number") + 1, "proof_from"))
    return rows.with_columns(
        acknowledged_at=pl.lit(utc(now)).cast(pl.Datetime("us", "UTC")),
        state=pl.lit(state),
        dirty_until=pl.max_horizontal(still_dirty, overtaken),
    )


def refused(before: pl.DataFrame, outcomes: pl.DataFrame, acknowledged: pl.DataFrame) -> pl.DataFrame:
    """Return the refusals of some stores after the outcomes.

    A refused row adds its ingestion to those that refused the same content; an acknowledged one ends the refusals of
    its content. ``acknowledged`` says which other SKU holds the row's barcode now.
    """
    no = outcomes.filter(pl.col("outcome") == "refused")
    archive = pl.col("content_hash") == ARCHIVE
    active = acknowledged.filter(pl.col("state") == "ACTIVE")
    no = pl.concat([no.filter(~archive), within(no.filter(archive), active)])
    content = [*_ON, "content_hash"]
    new = no.join(holders(no.filter(~archive), acknowledged), on=_ON, how="left").select(
        *content,
        "code",
        "message",
        pl.concat_list("ingestion_id").alias("ingestion_ids"),
        pl.col("resolved_at").alias("first_seen"),
        pl.col("resolved_at").alias("last_seen"),
        pl.col("holder").fill_null(""),
    )
    both = pl.concat([before.select(list(REFUSALS)), new.select(list(REFUSALS))]).sort("last_seen", maintain_order=True)
    merged = both.group_by(content, maintain_order=True).agg(
        pl.col("code").last(),
        pl.col("message").last(),
        pl.col("ingestion_ids").list.explode(keep_nulls=False, empty_as_null=False).unique().sort(),
        pl.col("first_seen").min(),
        pl.col("last_seen").max(),
        pl.col("holder").last(),
    )
    refused_before = pl.col("content_hash").is_in(merged["content_hash"].unique().implode())
    yes = outcomes.filter((pl.col("outcome") == "acknowledged") & refused_before)
    yes = yes.group_by(content).agg(_yes_at=pl.col("resolved_at").max())
    ended = merged.join(yes, on=content, how="left").filter(
        pl.col("_yes_at").is_null() | (pl.col("_yes_at") < pl.col("last_seen"))
    )
    return ended.select(list(REFUSALS)).sort(*_ON, "content_hash")


def holders(items: pl.DataFrame, acknowledged: pl.DataFrame) -> pl.DataFrame:
    """Return ``store_id``, ``item_sku`` and ``holder``: the other active SKU with a barcode of the item."""
    active = acknowledged.select(*_ON, *BARCODE_FIELDS, "state").filter(pl.col("state") == "ACTIVE")
    held = gtin14s(active).rename({"item_sku": "holder"})
    claims = gtin14s(items)
    return (
        claims.join(held, on=["store_id", "gtin14"], how="inner")
        .filter(pl.col("holder") != pl.col("item_sku"))
        .group_by(_ON)
        .agg(pl.col("holder").min())
    )
