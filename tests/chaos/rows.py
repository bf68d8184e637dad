"""The retailer's rows: two stores, four SKUs in each, and what the source says of them from moment to moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.schedule import Edit
    from tests.chaos.world import World

STORES = ("S1", "S2")
SKUS = ("A", "B", "C", "D")
HEADER = ("item_no", "gtin", "descr", "retail", "store_no")

Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """What the source says of one SKU in one store. ``good`` rows pass the contract."""

    version: int
    barcode: int
    good: bool = True

    def cells(self, key: Key) -> dict[str, str]:
        """Return the row of the source file."""
        price = f"{self.version}.00" if self.good else "n/a"
        return dict(zip(HEADER, (key[1], str(self.barcode), f"Item {key[1]}", price, key[0]), strict=True))

    def content(self) -> tuple[str, str]:
        """Return what tells its item from others: price and barcode."""
        return f"{self.version}.00", str(self.barcode)


Source = dict[Key, Row]


def content_of(item: dict[str, Any]) -> tuple[str, str]:
    """Return price and barcode of an item as sent."""
    return item["standard_price"], item["external_product_id"]


@dataclass
class Editor:
    """Changes the source as a schedule says; every price and barcode that it makes is a new one."""

    world: World
    versions: int = 0
    barcodes: int = 4000
    before: dict[Key, Row] = field(default_factory=dict)
    #: What the source says again when an old export is over.
    beyond_export: Source | None = None

    def begin(self) -> None:
        """Let the source have every SKU in every store."""
        self.world.edit(self.everything())

    def everything(self) -> Source:
        """Return a fresh row of every SKU in every store."""
        return {(store, sku): self._fresh() for store in STORES for sku in SKUS}

    def apply(self, edits: tuple[Edit, ...]) -> None:
        """Change the source; a nightly export is as young as the night."""
        before, self.beyond_export = self.beyond_export, None
        source: Source = dict(self.world.source if before is None else before)
        for edit in edits:
            self._apply(source, edit)
        if source != self.world.source:
            self.world.edit(source)
        what = {edit.what for edit in edits}
        if "lost" in what:
            self.world.lose_source()
        elif "export" in what:
            self.beyond_export = source
            at, old = self.world.history[max(1, len(self.world.history) - 2)]
            self.world.edit(dict(old))
            self.world.export(at)
            self.world.exports[len(self.world.history) - 1] = at
        else:
            self.world.export()

    def _fresh(self, barcode: int | None = None) -> Row:
        self.versions += 1
        if barcode is None:
            self.barcodes += 1
            barcode = self.barcodes
        return Row(self.versions, barcode)

    def _apply(self, source: Source, edit: Edit) -> None:
        if edit.what == "empty":
            source.clear()
        elif edit.what in _WHOLE_STORE:
            what, skus = _WHOLE_STORE[edit.what]
            for sku in skus:
                if (edit.key[0], sku) in source:
                    self._change(source, what, (edit.key[0], sku))
        elif edit.what == "leave":
            for store in STORES:
                self._change(source, "drop", (store, edit.key[1]))
        elif edit.what not in ("lost", "export"):
            self._change(source, edit.what, edit.key)

    def _change(self, source: Source, what: str, key: Key) -> None:
        old = source.get(key)
        if what == "drop":
            source.pop(key, None)
        elif what == "back" and key in self.before:
            source[key] = self.before[key]
        elif what == "bad" and old:
            source[key] = Row(old.version, old.barcode, good=False)
        elif what == "move" and old:
            self._move(source, key, old)
            return
        elif what == "price" or not old:
            source[key] = self._fresh(old.barcode if old else None)
        if old and source.get(key) != old:
            self.before[key] = old

    def _move(self, source: Source, key: Key, old: Row) -> None:
        """Give the barcode to another SKU of the store, and a fresh one to its holder."""
        other = (key[0], SKUS[(SKUS.index(key[1]) + 1) % len(SKUS)])
        for moved in (key, other):  # going back to a barcode that another SKU has would be a conflict in the source
            self.before.pop(moved, None)
        source[key], source[other] = self._fresh(), self._fresh(old.barcode)


#: Edits of a store: what becomes of which of its SKUs.
_WHOLE_STORE = {"prices": ("price", SKUS), "spoiled": ("bad", SKUS[:2]), "short": ("drop", SKUS[2:])}
