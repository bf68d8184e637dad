"""What a store, or whoever owns the data, can do about a row that Amazon refused.

Amazon publishes no list of the codes of its reports. What it documents is in words: an item that is still on a
planogram cannot be archived (``archive_catalog_api``), a barcode needs its check digit (``catalog_data_overview``). So
the words are looked at, after the codes that are the contract's own.
"""

from __future__ import annotations

from catalog_sync.advice import ADVICE
from catalog_sync.contract.codes import Code

_WORDS = (
    (
        ("planogram", "shelf", "on a pod"),
        "Take the item off the shelves, and put another in its place with the handheld's Planogram tool, in every "
        "store; it is archived after that.",
    ),
    (
        ("in use", "in_use", "belongs to", "already assigned", "duplicate"),
        "Two SKUs claim one barcode: ask merchandising which is right. This one waits until the other gives it up.",
    ),
    (("already archived",), "Nothing to do: it was archived before."),
    (("check digit",), ADVICE[Code.BARCODE_CHECK_DIGIT]),
    (("barcode", "external_product_id"), "Scan the product, and compare the barcode with the one in the catalog."),
    (("price",), ADVICE[Code.PRICE_FORMAT]),
    (("name",), "Shorten the name to 100 characters, without special characters."),
)
_CODES = {code.value: advice for code, advice in ADVICE.items()}
#: For whatever no word tells of.
OTHERWISE = (
    "Ask the team that runs the catalog. The row is tried again when it changes, and up to three times when it does "
    "not; what Amazon had of it before stays."
)


def refusal_advice(code: str, message: str) -> str:
    """Return a sentence of advice for the code and message of a refusal, whatever they are."""
    if code in _CODES:
        return _CODES[code]
    text = f"{code} {message}".lower()
    for words, advice in _WORDS:
        if any(word in text for word in words):
            return advice
    return OTHERWISE
