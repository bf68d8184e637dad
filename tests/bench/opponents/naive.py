"""The naive opponent, as most Airflow projects do it: pandas, a lazy pandera schema, ``to_dict`` and ``json``.

It checks every rule that the data breaks, check digit and duplicates included, vectorised. It has no barcodes shared
between items, no repairs kept, no rejects kept, and (on a first load) nothing to compare with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from tests.bench.child import tell
from tests.bench.names import BATCH, COLUMNS, FURTHER, STORES
from tests.bench.opponents.rules import PRICE, SKU, Payloads, further


def _passes(codes: pd.Series[str]) -> pd.Series[bool]:
    plain = codes.where(codes.str.fullmatch(r"\d{12,13}"), "1")
    digits = plain.str.zfill(14).to_numpy(dtype="U14").view("U1").reshape(-1, 14).astype(np.int8)
    return pd.Series((digits @ np.array([3, 1] * 7)) % 10 == 0, index=codes.index)


_TEXT = pa.Column(str, pa.Check.str_length(max_value=255), nullable=True)
SCHEMA = pa.DataFrameSchema(
    {
        "item_sku": pa.Column(str, pa.Check.str_matches(f"^{SKU.pattern}$")),
        "external_product_id": pa.Column(str, [pa.Check.str_matches(r"^\d{12,13}$"), pa.Check(_passes)]),
        "item_name": pa.Column(str, pa.Check.str_length(1, 100)),
        "store_id": pa.Column(str, pa.Check.isin(STORES)),
        "standard_price": pa.Column(str, pa.Check.str_matches(f"^{PRICE.pattern}$"), nullable=True),
        "brand_name": _TEXT,
        "product_tax_code": _TEXT,
        "product_category": _TEXT,
        "product_subcategory": _TEXT,
    },
    unique=["store_id", "item_sku"],
    report_duplicates="all",
)


def repaired(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows under Amazon's names, names in ASCII, barcodes without padding."""
    rows = rows.rename(columns=COLUMNS)
    name = rows["item_name"].str.normalize("NFKD").str.encode("ascii", "ignore").str.decode("ascii")
    rows["item_name"] = name.str.replace(r"\s+", " ", regex=True).str.strip()
    code = rows["external_product_id"]
    rows["external_product_id"] = code.where(~((code.str.len() == 13) & code.str.startswith("0")), code.str[1:])
    return rows


def valid(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that break nothing."""
    try:
        SCHEMA.validate(rows, lazy=True)
    except pa.errors.SchemaErrors as error:
        rows = rows.drop(index=error.failure_cases["index"].dropna().unique())
    return rows


def main(source: Path, folder: Path) -> dict[str, Any]:
    """Make payloads of the source."""
    rows = valid(repaired(pd.read_parquet(source)))
    rows["external_product_id_type"] = np.where(rows["external_product_id"].str.len() == 13, "EAN", "UPC")
    rows["additional_external_product_information"] = rows.pop(FURTHER).map(
        lambda text: further(text if isinstance(text, str) else None)
    )
    payloads = Payloads(folder)
    for first in range(0, len(rows), BATCH):
        items = rows.iloc[first : first + BATCH].fillna("").to_dict(orient="records")
        payloads.write(json.dumps({"catalogItems": items}).encode(), len(items))
    return payloads.counts()


if __name__ == "__main__":
    tell(lambda: main(Path(sys.argv[1]), Path(sys.argv[2])))
