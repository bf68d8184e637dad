"""What would change, field by field: the before and after that a plan shows."""

from __future__ import annotations

import polars as pl

from catalog_sync.fields import ADDITIONAL, ITEM_FIELDS, KEY

PRICE = "standard_price"
#: One line per field of a row that changes. ``before`` and ``after`` as sent; further barcodes joined by ``|``.
CHANGES = {**dict.fromkeys(KEY, pl.String), "field": pl.String, "before": pl.String, "after": pl.String}


def changes(after: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return one line per field that differs (``CHANGES``), sorted by store and SKU.

    :param after: items as they would be sent.
    :param before: the acknowledged rows, at least of the same keys.
    """
    fields = [field for field in ITEM_FIELDS if field not in KEY]
    pairs = _as_text(after, fields).join(_as_text(before, fields), on=list(KEY), suffix="@before")
    lines = [
        pairs.filter(pl.col(field) != pl.col(f"{field}@before")).select(
            *KEY, field=pl.lit(field), before=f"{field}@before", after=field
        )
        for field in fields
    ]
    return pl.concat([pl.DataFrame(schema=CHANGES), *lines]).sort(*KEY, "field")


def price_moves(lines: pl.DataFrame) -> pl.DataFrame:
    """Return ``KEY``, ``before``, ``after`` and ``percent`` of the changes that are price moves.

    A price that appears, disappears or was 0 has no percentage (null).
    """
    old, new = (pl.col(name).cast(pl.Float64, strict=False) for name in ("before", "after"))
    percent = pl.when(old > 0).then((new / old - 1) * 100)
    return lines.filter(field=PRICE).select(*KEY, "before", "after", percent=percent)


def _as_text(items: pl.DataFrame, fields: list[str]) -> pl.DataFrame:
    barcodes = pl.col(ADDITIONAL).list.eval(pl.element().struct.field("external_product_id")).list.sort().list.join("|")
    return items.select(*KEY, *((barcodes.alias(f) if f == ADDITIONAL else pl.col(f)).fill_null("") for f in fields))
