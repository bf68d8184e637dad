"""What a barcode is, judged as Amazon's processing does, and under which number two barcodes are the same.

Source: ``catalog_data_overview`` (lengths by type; a missing check digit fails ingestion; 8 digits of UPC are a UPC-E).
"""

from __future__ import annotations

from stdnum import isbn

#: Digits by type (``catalog_data_overview``, ``upload_catalog``).
LENGTHS: dict[str, tuple[int, ...]] = {
    "UPC": (12, 8),
    "EAN8": (8,),
    "EAN": (13,),
    "ISBN": (10,),
    "GTIN": (14,),
    "PLU": (3, 4, 5, 6),
}


class BadBarcode(ValueError):
    """The barcode breaks a rule; ``code`` is the report's error code, the text says the rule."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def expand_upc_e(code: str) -> str | None:
    """Return the 12-digit UPC-A of an 8-digit UPC-E, or None when it is none.

    Zero suppression as in the GS1 General Specifications: the sixth digit says where the zeros were. Number systems 0
    and 1 alone have a UPC-E form.
    """
    if len(code) != 8 or code[0] not in "01":
        return None
    system, digits, last, check = code[0], code[1:6], code[6], code[7]
    if last in "012":
        body = digits[:2] + last + "0000" + digits[2:]
    elif last == "3":
        body = digits[:3] + "00000" + digits[3:]
    elif last == "4":
        body = digits[:4] + "00000" + digits[4]
    else:
        body = digits + "0000" + last
    return system + body + check


def _checked(code: str) -> bool:
    """Whether the GS1 check digit is right: with weights 1, 3, 1, 3 … from the right all digits add up to tens.

    python-stdnum does the same three times as slowly, which tells when items come by the million.
    """
    return (sum(map(int, code[-1::-2])) + 3 * sum(map(int, code[-2::-2]))) % 10 == 0


def _eight(code: str, kind: str) -> str:
    """Return the number behind eight digits: a UPC-E stands for its UPC-A, an EAN-8 for itself."""
    expanded = expand_upc_e(code)
    if kind != "EAN8" and expanded and _checked(expanded):
        return expanded
    if kind != "UPC" and _checked(code):
        return code
    raise BadBarcode("BARCODE_CHECK_DIGIT", f"{code} has a wrong check digit")


def _kind(code: str, kind: str) -> str:
    if kind:
        if kind not in LENGTHS:
            raise BadBarcode(
                "BARCODE_TYPE", f"external_product_id_type {kind[:40]!r} is not one of {', '.join(LENGTHS)}"
            )
        if len(code) not in LENGTHS[kind]:
            raise BadBarcode("BARCODE_LENGTH", f"a {kind} does not have {len(code)} characters")
        return kind
    for name, lengths in LENGTHS.items():
        if len(code) in lengths:
            return "" if len(code) == 8 else name
    raise BadBarcode("BARCODE_LENGTH", f"no barcode type has {len(code)} characters")


def number_of(code: str, kind: str) -> int:
    """Return the GTIN-14 of a barcode as a number; a PLU, which is no GTIN, as a negative number.

    ``kind`` is the type given, "" for none: then the length decides, and eight digits may be a UPC-E or an EAN-8.
    An ISBN-10 counts as its EAN-13. Raises BadBarcode.
    """
    kind = _kind(code, kind)
    if kind == "ISBN":
        if not isbn.is_valid(code) or not code.isascii():
            raise BadBarcode("BARCODE_CHECK_DIGIT", f"{code[:40]!r} is not a valid ISBN-10")
        return int(isbn.to_isbn13(code))
    if not (code.isascii() and code.isdigit()):
        raise BadBarcode("BARCODE_FORMAT", f"{code[:40]!r} is not made of digits")
    if kind == "PLU":
        return -int(code)
    if len(code) == 8:
        return int(_eight(code, kind))
    if not _checked(code):
        raise BadBarcode("BARCODE_CHECK_DIGIT", f"{code} has a wrong check digit")
    return int(code)
