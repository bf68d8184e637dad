"""The sample catalog of ``make run``: an ERP database and a merchandising file, invented, and dirty on purpose.

About 36,000 rows in five stores. The ERP (SQLite) has every item; merchandising (CSV) has better names and promotional
prices for some, and wins where it has them. Every rule of the contract is broken somewhere, some rows have several
barcodes, and the sandbox refuses a few SKUs. The same seed and day give the same bytes.
"""

from __future__ import annotations

import csv
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

STORES = ("SEA-001", "SEA-002", "PDX-001", "NYC-014", "CHI-007")
ITEMS = 8_600
#: SKUs that the sandbox refuses in the sample, as Amazon would for reasons of its own.
REFUSED = tuple(f"1{number:06d}" for number in range(40, 64))

_BRANDS = (
    "Alder & Oak", "Bright Harbor", "Casa Luna", "Daily Grove", "Ember Lane", "Fjordal", "Golden Mill", "Hilltop",
    "Iron Kettle", "Juniper", "Kaffa Nord", "Little Orchard", "Mountain Pine", "North Quay", "Old Ferry", "Petit Jour",
)  # fmt: skip
#: Department → products, each in any of the department's sizes.
_PRODUCTS = {
    "Beverages": ("Cold Brew Coffee", "Sparkling Water Lime", "Orange Juice", "Green Tea", "Oat Drink", "Ginger Ale"),
    "Bakery": ("Sourdough Loaf", "Croissant au Beurre", "Rye Crackers", "Blueberry Muffin", "Bagel Sesame"),
    "Dairy": ("Greek Yogurt Plain", "Crème Fraîche", "Aged Cheddar", "Salted Butter", "Skyr Vanilla"),
    "Grocery": ("Basmati Rice", "Tomato Passata", "Extra Virgin Olive Oil", "Penne Rigate", "Chickpeas", "Sea Salt"),
    "Snacks": ("Sea Salt Potato Chips", "Dark Chocolate 70%", "Trail Mix", "Rice Cakes", "Jalapeño Popcorn"),
    "Household": ("Dish Soap Lemon", "All-Purpose Cleaner", "Laundry Detergent", "Glass Cleaner"),
}
_SIZES = {
    "Beverages": ("330 ml", "500 ml", "750 ml", "1 l", "12 fl oz", "6 Pack"),
    "Bakery": ("2 Pack", "4 Pack", "6 Pack", "10 oz", "400 g"),
    "Dairy": ("150 g", "200 g", "500 g", "8 oz", "16 oz"),
    "Grocery": ("250 g", "500 g", "1 kg", "14 oz", "2 lb"),
    "Snacks": ("45 g", "90 g", "150 g", "6 oz", "Family Size"),
    "Household": ("500 ml", "1 l", "24 fl oz", "50 fl oz"),
}
_TAX = {"Beverages": "A_FOOD_SODA", "Household": "A_GEN_TAX"}


@dataclass(frozen=True)
class _Item:
    """One row of the ERP."""

    item_no: str
    gtin: str
    descr: str
    dept: str
    retail: str
    tax_cd: str
    store_no: str
    brand: str
    alt_gtins: str = ""
    gtin_type: str = ""


def write_sample(folder: Path, seed: int = 7, day: int = 1) -> dict[str, int]:
    """Write ``erp.sqlite`` and ``merch_items.csv`` into the folder, replacing what was there.

    :param day: 1, or 2 for the next day's version: some prices, names and items have changed.
    :returns: the rows of each source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean = list(_catalog(random.Random(seed)))  # noqa: S311 - not for secrets
    if day > 1:
        clean = _next_day(clean, random.Random(seed * 1000 + day))  # noqa: S311
    erp = [*clean, *_dirty(clean)]
    _write_erp(folder / "erp.sqlite", erp, day)
    merch = _write_merch(folder / "merch_items.csv", clean, random.Random(seed + 1))  # noqa: S311
    return {"erp": len(erp), "merch": merch}


def check_digit(body: str) -> str:
    """Return the GS1 check digit of the digits before it (weights 3 and 1 in turn from the right)."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    return str(-total % 10)


def _upc(number: int) -> str:
    body = f"0{number % 10**10:010d}"
    return body + check_digit(body)


def _ean(number: int) -> str:
    body = f"40{number % 10**10:010d}"
    return body + check_digit(body)


def _catalog(rng: random.Random) -> Iterator[_Item]:
    """Yield clean rows, a third of them with what the contract repairs."""
    for number in range(1, ITEMS + 1):
        dept = rng.choice(sorted(_PRODUCTS))
        brand, product, size = rng.choice(_BRANDS), rng.choice(_PRODUCTS[dept]), rng.choice(_SIZES[dept])
        item = _Item(
            item_no=f"1{number:06d}",
            gtin=_upc(4_100_000_000 + number * 37) if number % 3 else _ean(number * 7919),
            descr=f"{brand} {product} {size}",
            dept=dept,
            retail=f"{rng.randrange(79, 2999) / 100:.2f}",
            tax_cd=_TAX.get(dept, "A_FOOD_GEN"),
            store_no="",
            brand=brand,
            alt_gtins=f"EAN:{_ean(5_000_000_000 + number)}|{_upc(700_000_000 + number)}" if number % 40 == 0 else "",
        )
        item = _untidy(item, number)
        for store in sorted(rng.sample(STORES, rng.choice((3, 4, 5, 5)))):
            yield replace(item, store_no=store)


def _untidy(item: _Item, number: int) -> _Item:
    """Return the item as a source might write it; the contract repairs every one of these."""
    repairs = {
        11: {"gtin": f"0{_upc(4_100_000_000 + number * 37)}"},
        23: {"gtin": item.gtin.lstrip("0") if len(item.gtin) == 12 else item.gtin},
        31: {"gtin": f"{item.gtin[:4]} {item.gtin[4:]}"},
        37: {"gtin": f"{4000 + number // 37}.0", "descr": f"Produce {number // 37} per lb"},
        41: {"descr": f"  {item.descr.replace(' ', '  ', 1)} "},
        43: {"descr": item.descr.replace(item.brand, f"{item.brand}®").replace("&", "&amp;")},
        47: {"descr": f"{item.descr} with a very long description that nobody could ever read on the printed receipt"},
        53: {"retail": item.retail.rstrip("0") or "0"},
        59: {"descr": f"{item.brand} 抹茶 {number}"},
        61: {"gtin": f"2{number:010d}" + check_digit(f"2{number:010d}")},
    }
    for step, changes in repairs.items():
        if number % (step * 5) == 0:
            return replace(item, **changes)
    return item


def _dirty(clean: list[_Item]) -> list[_Item]:
    """Return rows that the contract rejects: for every rejecting rule a few."""
    base = replace(clean[0], alt_gtins="")
    made: list[_Item] = []

    def add(**changes: str) -> None:
        number = 9_000_000 + len(made)
        fresh = {"item_no": str(number), "gtin": _upc(8_800_000_000 + number), "store_no": STORES[len(made) % 5]}
        made.append(replace(base, **{**fresh, **changes}))

    for n in range(6):
        wrong = str((int(_upc(n)[-1]) + 1) % 10)
        add(gtin="")
        add(descr="   ")
        add(descr="®™ …")
        add(gtin=f"1.2345{n}E+11")
        add(item_no=f"90210{n}.5")
        add(gtin=_upc(n)[:-1] + wrong)
        add(gtin=f"12345678901234{n}")
        add(gtin_type="EAN8")
        add(gtin=f"ABC{n}12345678")
        add(gtin=f"00000000{4011 + n}" + check_digit(f"00000000{4011 + n}"))
        add(alt_gtins="ISBN:123|EAN:4000000000001")
        add(item_no=f"SKU {n}/7")
        add(store_no=f"BOS-00{n}")
        add(retail=f"-{n + 1}.00")
        add(retail=f"1,{n}99.00")
        add(tax_cd="X" * 300)
        add(descr=f'=HYPERLINK("http://example.com/{n}")', tax_cd="T\x07")
    for n in range(5):
        twin = f"955500{n}"
        add(item_no=twin, store_no=STORES[n], descr="First name of two")
        add(item_no=twin, store_no=STORES[n], descr="Second name of two")
        same = {"item_no": f"966600{n}", "store_no": STORES[n], "gtin": _upc(9_900_000_000 + n)}
        add(**same)
        add(**same)
        shared = {"gtin": _upc(9_910_000_000 + n), "store_no": STORES[n]}
        add(**shared)
        add(**shared)
    return made


def _next_day(rows: list[_Item], rng: random.Random) -> list[_Item]:
    made = []
    for row in rows:
        chance = rng.random()
        if chance < 0.002:
            continue
        if chance < 0.022:
            made.append(replace(row, retail=f"{rng.randrange(79, 2999) / 100:.2f}"))
        elif chance < 0.025:
            made.append(replace(row, descr=f"{row.descr} New Recipe"))
        else:
            made.append(row)
    for n in range(60):
        name = f"{rows[n].brand} Seasonal Special {n}"
        fresh = {"item_no": f"17{n:05d}", "gtin": _upc(7_770_000_000 + n), "store_no": STORES[n % 5]}
        made.append(replace(rows[n], **fresh, descr=name, alt_gtins=""))
    return made


def _write_erp(path: Path, rows: list[_Item], day: int) -> None:
    path.unlink(missing_ok=True)
    changed = f"2026-11-{19 + day:02d}T02:11:00Z"
    before = attrgetter("item_no", "gtin", "descr", "dept", "retail", "tax_cd", "store_no")
    after = attrgetter("brand", "alt_gtins", "gtin_type")
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE items (item_no TEXT, gtin TEXT, descr TEXT, dept TEXT, retail TEXT, tax_cd TEXT, "
            "store_no TEXT, changed_at TEXT, brand TEXT, alt_gtins TEXT, gtin_type TEXT)"
        )
        database.executemany(
            "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((*before(row), changed, *after(row)) for row in rows),
        )
        database.commit()


def _write_merch(path: Path, rows: list[_Item], rng: random.Random) -> int:
    """Write merchandising's view of some rows: a better title, or a promotional price, or both; and broken lines.

    :returns: the rows, broken ones included.
    """
    written = 0
    # Lone surrogates become the single bytes of a file that was edited in another encoding.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("sku", "store", "title", "price"))
        for row in rows:
            if rng.random() < 0.12:
                title = f"{row.descr.strip()} Organic" if rng.random() < 0.5 else ""
                price = f"{float(row.retail) * 0.9:.2f}" if rng.random() < 0.7 or not title else ""
                writer.writerow((row.item_no, row.store_no, title, price))
                written += 1
        more = [f"199999{n},{store},Known to merchandising only,4.99" for n, store in enumerate(STORES[:3])]
        more += [f"100000{n},SEA-001,Unquoted comma, so a field too many,1.9{n}" for n in range(3)]
        more += ["1000003,SEA-002,Nul\x00byte,1.99", "1000004,SEA-002,Caf\udce9 au Lait 250 ml,1.99", "1000005,SEA-002"]
        file.writelines(f"{line}\r\n" for line in more)
    return written + len(more)
