"""The data of the benchmark: a retailer's item file as Parquet, the same bytes every time, and how dirty it is.

Row *r* is item ``r // 100`` in store ``r % 100``, as an ERP that stores by item hands it out. In every block of 500
rows ten are bad (2 %): eight that break one rule each, and two that have one key and different prices. A fifth of the
names have accents, a tenth of the barcodes a zero too many, and half of the items one or two further barcodes. On the
second day one row in fifty has another price; none of them is a bad one. Both are spread over the stores.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from tests.bench.names import DAY1, DAY2, PLANTED, STORES

#: Rows come in blocks of so many, so that the planted numbers are exact.
BLOCK = 500

_BRANDS = ("Alder & Oak", "Bright Harbor", "Casa Luna", "Daily Grove", "Ember Lane", "Golden Mill", "North Quay")
_PLAIN = ("Cold Brew Coffee", "Rye Crackers", "Basmati Rice", "Sea Salt Chips", "Dish Soap Lemon", "Trail Mix Nuts")
_ACCENTED = ("Crème Fraîche", "Jalapeño Popcorn", "Café au Lait", "Müsli Rösti", "Pâté de Campagne", "Piña Colada")
_SIZES = ("45 g", "150 g", "330 ml", "500 ml", "1 l", "6 Pack", "12 fl oz", "Family Size")
_DEPARTMENTS = ("Beverages", "Bakery", "Dairy", "Grocery", "Snacks", "Household")
_TAX = ("A_FOOD_GEN", "A_FOOD_SODA", "A_GEN_TAX")

#: Place among the 500 of a block → column, what stands there instead, and the rule that rejects it.
_BAD = {
    7: ("descr", pl.lit(""), "REQUIRED"),
    57: ("gtin", pl.lit("041000000019"), "BARCODE_CHECK_DIGIT"),
    107: ("gtin", pl.lit("0410000A0018"), "BARCODE_FORMAT"),
    157: ("store_no", pl.lit("XX-999"), "STORE_UNKNOWN"),
    207: ("retail", pl.lit("n/a"), "PRICE_FORMAT"),
    257: ("item_no", pl.col("item_no") + "/B", "SKU_FORMAT"),
    307: ("gtin", pl.lit("410000001"), "BARCODE_LENGTH"),
    357: ("brand", pl.lit("brand " * 50), "TEXT_LENGTH"),
}
#: The row at this place repeats the key of the row before it at another price; both are rejected.
_TWIN = 408
_BAD_IN_BLOCK = len(_BAD) + 2
#: On the second day the rows at these places have another price.
_CHANGE_EVERY, _CHANGE_AT = 50, 31


@dataclass(frozen=True)
class Planted:
    """What is in the data: ``rejected`` rows by code; ``changed`` on the second day, all of them among ``accepted``."""

    rows: int
    stores: int
    accepted: int
    changed: int
    rejected: dict[str, int]


def planted(rows: int) -> Planted:
    """Return what ``write`` plants among so many rows, a multiple of 500.

    :raises ValueError: it is not.
    """
    if rows < BLOCK or rows % BLOCK:
        raise ValueError(f"rows = {rows}: must be a multiple of {BLOCK}")
    blocks = rows // BLOCK
    rejected = dict.fromkeys((code for _, _, code in _BAD.values()), blocks) | {"DUPLICATE_KEY": 2 * blocks}
    return Planted(rows, len(STORES), rows - _BAD_IN_BLOCK * blocks, rows // _CHANGE_EVERY, rejected)


def frame(first: int, rows: int, day: int = 1) -> pl.DataFrame:
    """Return ``rows`` rows from row number ``first`` on; both are multiples of 500."""
    row = pl.col("row")
    made = pl.DataFrame({"row": pl.int_range(first, first + rows, dtype=pl.Int64, eager=True)}).with_columns(
        item=row // len(STORES), store=row % len(STORES)
    )
    # Every store has its share of what is bad and of what changes.
    items, turned = BLOCK // len(STORES), (pl.col("store") + pl.col("item") * 37) % len(STORES)
    made = made.with_columns(place=pl.col("item") % items * len(STORES) + turned)
    changed = pl.lit(day > 1) & (pl.col("place") % _CHANGE_EVERY == _CHANGE_AT)
    made = made.with_columns(
        cents=79 + (pl.col("item") * 37 + pl.col("store") * 11) % 2900 + changed.cast(pl.Int64)
    ).with_columns(item_no=pl.format("SKU-{}", pl.col("item").cast(pl.String).str.zfill(8)))
    made = made.with_columns(
        gtin=_gtin(pl.col("item")),
        descr=_name(pl.col("item")),
        retail=_price(pl.col("cents")),
        store_no=pl.format("ST-{}", pl.col("store").cast(pl.String).str.zfill(3)),
        brand=_one_of(_BRANDS, pl.col("item") * 5),
        dept=_one_of(_DEPARTMENTS, pl.col("item")),
        sub_dept=_one_of(_SIZES, pl.col("item") * 3),
        tax_cd=_one_of(_TAX, pl.col("item")),
        alt_gtins=_further(pl.col("item")),
    )
    return _spoil(made).select(
        "item_no", "gtin", "descr", "retail", "store_no", "brand", "dept", "sub_dept", "tax_cd", "alt_gtins"
    )


def _spoil(made: pl.DataFrame) -> pl.DataFrame:
    place = pl.col("place")
    for at, (column, value, _) in _BAD.items():
        made = made.with_columns(pl.when(place == at).then(value).otherwise(pl.col(column)).alias(column))
    twin = place == _TWIN
    return made.with_columns(
        *(
            pl.when(twin).then(pl.col(column).shift(1)).otherwise(pl.col(column)).alias(column)
            for column in ("item_no", "store_no")
        ),
        pl.when(twin).then(_price(pl.col("cents") + 5000)).otherwise(pl.col("retail")).alias("retail"),
    )


def _check_digit(body: pl.Expr) -> pl.Expr:
    """Return the GS1 check digit of a number of up to twelve digits: weights 3 and 1 in turn from the right."""
    total = pl.lit(0, dtype=pl.Int64)
    for place in range(12):
        total = total + body // 10**place % 10 * (3 if place % 2 == 0 else 1)
    return (10 - total % 10) % 10


def _upc(number: pl.Expr) -> pl.Expr:
    return (number * 10 + _check_digit(number)).cast(pl.String).str.zfill(12)


def _ean(number: pl.Expr) -> pl.Expr:
    return _upc(number + 400_000_000_000)


def _gtin(item: pl.Expr) -> pl.Expr:
    upc = _upc(item + 4_100_000_000)
    return pl.when(item % 10 == 1).then("0" + upc).when(item % 3 == 0).then(_ean(item)).otherwise(upc)


def _further(item: pl.Expr) -> pl.Expr:
    ean, upc = _ean(item + 5_000_000_000), _upc(item + 7_000_000_000)
    return pl.when(item % 4 == 0).then("EAN:" + ean + "|" + upc).when(item % 4 == 2).then("EAN:" + ean).otherwise(None)


def _name(item: pl.Expr) -> pl.Expr:
    product = pl.when(item % 5 == 0).then(_one_of(_ACCENTED, item // 5)).otherwise(_one_of(_PLAIN, item))
    spaces = pl.when(item % 33 == 0).then(pl.lit("  ")).otherwise(pl.lit(" "))
    return _one_of(_BRANDS, item * 5) + spaces + product + " " + _one_of(_SIZES, item * 3) + " " + item.cast(pl.String)


def _price(cents: pl.Expr) -> pl.Expr:
    return pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))


def _one_of(words: tuple[str, ...], number: pl.Expr) -> pl.Expr:
    return pl.lit(pl.Series(words)).gather(number % len(words))


def write(folder: Path, rows: int) -> Planted:
    """Write both days into the folder, a million rows at a time, with what was planted.

    :raises ValueError: ``rows`` is no multiple of 500.
    """
    import pyarrow.parquet as pq

    told = planted(rows)
    folder.mkdir(parents=True, exist_ok=True)
    for day, name in ((1, DAY1), (2, DAY2)):
        schema = frame(0, BLOCK).to_arrow().schema
        with pq.ParquetWriter(folder / name, schema, compression="zstd") as file:
            for first in range(0, rows, 1_000_000):
                file.write_table(frame(first, min(1_000_000, rows - first), day).to_arrow(), row_group_size=100_000)
    (folder / PLANTED).write_text(json.dumps(asdict(told)), encoding="utf-8")
    return told


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
