"""What the opponents have in common, in plain Python: the repairs, the rules of one value, and the payload's file."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import zstandard

SKU = re.compile(r"[A-Za-z0-9._-]{1,255}")
PRICE = re.compile(r"\d+(\.\d{1,2})?")
BARCODE = re.compile(r"\d{12,13}")


def ascii_name(name: str | None) -> str:
    """Return the name with accents folded and white space collapsed."""
    if not name:
        return ""
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return " ".join(name.split())


def unpadded(code: str) -> str:
    """Return a UPC without the zero that makes it look like an EAN."""
    return code[1:] if len(code) == 13 and code[0] == "0" else code


def code_type(code: str) -> str:
    """Return Amazon's name for a barcode of that length."""
    return "EAN" if len(code) == 13 else "UPC"


def passes(code: str) -> bool:
    """Tell whether the GS1 check digit is right."""
    digits = [int(digit) for digit in code]
    return (sum(digits[-1::-2]) + 3 * sum(digits[-2::-2])) % 10 == 0


def further(text: str | None) -> list[dict[str, str]]:
    """Return the further barcodes of ``EAN:1234|5678`` as Amazon wants them."""
    found = []
    for part in text.split("|") if text else ():
        kind, _, code = part.rpartition(":")
        found.append({"external_product_id": code, "external_product_id_type": kind or code_type(code)})
    return found


class Payloads:
    """Writes request bodies into a folder, compressed as ours are, and counts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.items = self.bytes = self.files = 0

    def write(self, body: bytes, items: int) -> None:
        """Write one body."""
        self.files += 1
        self.items += items
        self.bytes += len(body)
        (self._folder / f"{self.files:05d}.json.zst").write_bytes(zstandard.ZstdCompressor(level=1).compress(body))

    def counts(self) -> dict[str, Any]:
        """Return what was written."""
        return {"accepted": self.items, "bytes": self.bytes, "payloads": self.files}
