"""Every code, with the default rules: what is repaired and what is rejected."""

from __future__ import annotations

from typing import Any

import pytest

SKU = "item_sku"
BARCODE = "external_product_id"
TYPE = "external_product_id_type"
NAME = "item_name"
STORE = "store_id"
PRICE = "standard_price"
EXTRA = "additional_external_product_ids"
LONG_NAME = "word " * 19 + "12345"  # exactly 100 characters


def rejected(result: Any) -> list[str]:
    """The codes that the only row breaks."""
    assert len(result.accepted) + (len(result.rejects) > 0) == 1
    return sorted(result.rejects["code"])


REJECTED = {
    "sku missing": ({SKU: None}, ["REQUIRED"]),
    "sku of blanks": ({SKU: " \t"}, ["REQUIRED"]),
    "barcode missing": ({BARCODE: None, TYPE: "UPC"}, ["REQUIRED"]),
    "barcode of hyphens": ({BARCODE: " - "}, ["REQUIRED"]),
    "name missing": ({NAME: None}, ["REQUIRED"]),
    "name of blanks": ({NAME: " \n "}, ["REQUIRED"]),
    "store missing": ({STORE: ""}, ["REQUIRED"]),
    "all missing": ({SKU: None, BARCODE: None, NAME: None, STORE: None}, ["REQUIRED"]),
    "name of signs": ({NAME: "®©™"}, ["NAME_ASCII"]),
    "name of punctuation": ({NAME: "@ --- !"}, ["NAME_ASCII"]),
    "name of an emoji": ({NAME: "🍎"}, ["NAME_ASCII"]),
    "name that is cut to nothing": ({NAME: "-" * 120 + "A"}, ["NAME_ASCII"]),
    "sku in exponent form": ({SKU: "1.23E+11"}, ["NUMERIC_CELL", "SKU_FORMAT"]),
    "sku with a fraction": ({SKU: "4011.5"}, ["NUMERIC_CELL"]),
    "barcode in exponent form": ({BARCODE: "1.23E+11"}, ["BARCODE_FORMAT", "NUMERIC_CELL"]),
    "barcode with a fraction": ({BARCODE: "4011.25"}, ["BARCODE_FORMAT", "NUMERIC_CELL"]),
    "store in exponent form": ({STORE: "1E+1"}, ["NUMERIC_CELL", "STORE_UNKNOWN"]),
    "13 digits, five zeros": ({BARCODE: "0000036001293"}, ["BARCODE_PADDED"]),
    "14 digits, six zeros": ({BARCODE: "00000036001293"}, ["BARCODE_PADDED"]),
    "13 digits that hide an EAN-8": ({BARCODE: "0000096385074"}, ["BARCODE_PADDED"]),
    "letters": ({BARCODE: "03600029145A"}, ["BARCODE_FORMAT"]),
    "X in a UPC": ({BARCODE: "03600029145X"}, ["BARCODE_FORMAT"]),
    "x that is small": ({BARCODE: "097522980x"}, ["BARCODE_FORMAT"]),
    "dots": ({BARCODE: "0.36000.29145.2"}, ["BARCODE_FORMAT"]),
    "full-width digits": ({BARCODE: "０３６０００２９１４５２"}, ["BARCODE_FORMAT"]),
    "a dash that is no hyphen": ({BARCODE: "0\N{EN DASH}36000291452"}, ["BARCODE_FORMAT"]),
    "2 digits": ({BARCODE: "40"}, ["BARCODE_LENGTH"]),
    "7 digits": ({BARCODE: "7838604"}, ["BARCODE_LENGTH"]),
    "9 digits": ({BARCODE: "123456789"}, ["BARCODE_LENGTH"]),
    "11 digits that fail with a zero": ({BARCODE: "36000291453"}, ["BARCODE_LENGTH"]),
    "15 digits": ({BARCODE: "100360002914524"}, ["BARCODE_LENGTH"]),
    "7 digits and a strange type": ({BARCODE: "7838604", TYPE: "FOO"}, ["BARCODE_LENGTH", "BARCODE_TYPE"]),
    "a type of another length": ({TYPE: "EAN"}, ["BARCODE_TYPE"]),
    "a type that is none": ({TYPE: "UPC-A"}, ["BARCODE_TYPE"]),
    "a PLU called UPC": ({BARCODE: "4011", TYPE: "UPC"}, ["BARCODE_TYPE"]),
    "an EAN called ISBN": ({BARCODE: "9780306406157", TYPE: "ISBN"}, ["BARCODE_TYPE"]),
    "UPC-A": ({BARCODE: "036000291453"}, ["BARCODE_CHECK_DIGIT"]),
    "EAN": ({BARCODE: "4006381333932"}, ["BARCODE_CHECK_DIGIT"]),
    "padded EAN that fails": ({BARCODE: "0036000291453"}, ["BARCODE_CHECK_DIGIT"]),
    "GTIN": ({BARCODE: "10036000291450"}, ["BARCODE_CHECK_DIGIT"]),
    "ISBN-10": ({BARCODE: "0306406153"}, ["BARCODE_CHECK_DIGIT"]),
    "8 digits": ({BARCODE: "96385075"}, ["BARCODE_CHECK_DIGIT"]),
    "UPC-E called EAN8": ({BARCODE: "07838604", TYPE: "EAN8"}, ["BARCODE_CHECK_DIGIT"]),
    "EAN-8 called UPC": ({BARCODE: "96385074", TYPE: "UPC"}, ["BARCODE_CHECK_DIGIT"]),
    "type and check digit": ({BARCODE: "036000291453", TYPE: "GTIN"}, ["BARCODE_CHECK_DIGIT", "BARCODE_TYPE"]),
    "extra that is bad": ({EXTRA: "4006381333932"}, ["BARCODE_EXTRA"]),
    "extra of a wrong type": ({EXTRA: "UPC:4006381333931"}, ["BARCODE_EXTRA"]),
    "extra of a strange type": ({EXTRA: "EAN-13:4006381333931"}, ["BARCODE_EXTRA"]),
    "extra without a barcode": ({EXTRA: "EAN:|4011"}, ["BARCODE_EXTRA"]),
    "extra twice": ({EXTRA: "4006381333931|EAN:4006381333931"}, ["BARCODE_EXTRA"]),
    "extra twice in two forms": ({EXTRA: "07838604|078000003864"}, ["BARCODE_EXTRA"]),
    "extra that is the main one": ({EXTRA: "0036000291452"}, ["BARCODE_EXTRA"]),
    "51 extras": ({EXTRA: "|".join(str(4000 + n) for n in range(51))}, ["BARCODE_EXTRA"]),
    "sku with a blank": ({SKU: "A 1"}, ["SKU_FORMAT"]),
    "sku with an accent": ({SKU: "É1"}, ["SKU_FORMAT"]),
    "sku of 256": ({SKU: "A" * 256}, ["SKU_FORMAT"]),
    "sku with a line's end": ({SKU: "A\nB"}, ["SKU_FORMAT"]),
    "strange store": ({STORE: "S9"}, ["STORE_UNKNOWN"]),
    "store in small letters": ({STORE: "s1"}, ["STORE_UNKNOWN"]),
    "price with a comma": ({PRICE: "1,299.00"}, ["PRICE_FORMAT"]),
    "price, decimal comma": ({PRICE: "9,50"}, ["PRICE_FORMAT"]),
    "price below zero": ({PRICE: "-1"}, ["PRICE_FORMAT"]),
    "price of three decimals": ({PRICE: "9.505"}, ["PRICE_FORMAT"]),
    "price with a currency": ({PRICE: "$9.50"}, ["PRICE_FORMAT"]),
    "price in exponent form": ({PRICE: "1e2"}, ["PRICE_FORMAT"]),
    "price of a dot": ({PRICE: "."}, ["PRICE_FORMAT"]),
    "price that is no number": ({PRICE: "NaN"}, ["PRICE_FORMAT"]),
    "price of 256 characters": ({PRICE: "1" * 253 + ".00"}, ["TEXT_LENGTH"]),
    "brand of 256": ({"brand_name": "b" * 256}, ["TEXT_LENGTH"]),
    "category with NUL": ({"product_category": "a\0b"}, ["TEXT_LENGTH"]),
    "tax code with a tab": ({"product_tax_code": "A\tB"}, ["TEXT_LENGTH"]),
    "subcategory with a C1 control": ({"product_subcategory": "a\x85b"}, ["TEXT_LENGTH"]),
    "everything": (
        {SKU: "a b", BARCODE: "4006381333932", NAME: "!", STORE: "S9", PRICE: "x", "brand_name": "\x01", EXTRA: "x"},
        [
            "BARCODE_CHECK_DIGIT", "BARCODE_EXTRA", "NAME_ASCII", "PRICE_FORMAT", "SKU_FORMAT", "STORE_UNKNOWN",
            "TEXT_LENGTH",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("row", "codes"), REJECTED.values(), ids=REJECTED)
def test_a_row_is_rejected_with_every_code_it_breaks(judge: Any, row: dict[str, str], codes: list[str]) -> None:
    """A row that breaks rules is rejected, with a line per code and the place it came from."""
    result = judge(row)
    assert rejected(result) == codes
    for line in result.rejects.iter_rows(named=True):
        assert (line["source"], line["source_row"], line["row_id"]) == ("erp", 1, 0)
        assert line["message"]
        assert line["field"]
        assert len(line["value"] or "") <= 80
    assert len(result.repairs) == 0


ACCEPTED: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
    "nothing to repair": ({}, {TYPE: "UPC", PRICE: "", "brand_name": ""}, []),
    "name trimmed": ({NAME: "  Oat \t\n Drink "}, {NAME: "Oat Drink"}, ["NAME_TRIM"]),
    "no-break space": ({NAME: "Oat\xa0Drink"}, {NAME: "Oat Drink"}, ["NAME_TRIM"]),
    "sku trimmed": ({SKU: " A1 "}, {SKU: "A1"}, ["NAME_TRIM"]),
    "entities": ({NAME: "M&amp;M&#39;s &quot;x&quot;"}, {NAME: 'M&M\'s "x"'}, ["NAME_ASCII"]),
    "entities twice encoded": ({NAME: "A &amp;amp;amp; B"}, {NAME: "A & B"}, ["NAME_ASCII"]),
    "entity cut off": ({NAME: "Keks &#40;540 g&#41"}, {NAME: "Keks (540 g)"}, ["NAME_ASCII"]),
    "no entity": ({NAME: "Apple&currant & Co &foo;"}, {NAME: "Apple&currant & Co &foo;"}, []),
    "signs": ({NAME: "Cola® Light™"}, {NAME: "Cola Light"}, ["NAME_ASCII"]),
    "accents": ({NAME: "Crème Brûlée"}, {NAME: "Creme Brulee"}, ["NAME_ASCII"]),
    "combining accent": ({NAME: "Cre\u0300me"}, {NAME: "Creme"}, ["NAME_ASCII"]),
    "ligatures": ({NAME: "Œuf Straße"}, {NAME: "Oeuf Strasse"}, ["NAME_ASCII"]),
    "Cyrillic": ({NAME: "Молоко"}, {NAME: "Moloko"}, ["NAME_ASCII"]),
    "Chinese": ({NAME: "牛奶"}, {NAME: "NiuNai"}, ["NAME_ASCII"]),
    "typographic signs": ({NAME: "Baker’s “Best” – 5 €"}, {NAME: 'Baker\'s "Best" - 5 EUR'}, ["NAME_ASCII"]),
    "emoji": ({NAME: "Goat 🐐 cheese ♥"}, {NAME: "Goat cheese"}, ["NAME_ASCII"]),
    "override of direction": ({NAME: "Oat\u202e Drink"}, {NAME: "Oat Drink"}, ["NAME_ASCII"]),
    "NUL in a name": ({NAME: "Oat\0 Drink"}, {NAME: "Oat Drink"}, ["NAME_ASCII"]),
    "100 characters": ({NAME: LONG_NAME}, {NAME: LONG_NAME}, []),
    "101 characters": ({NAME: LONG_NAME + "6"}, {NAME: ("word " * 19).strip()}, ["NAME_LENGTH"]),
    "cut where a word ends": ({NAME: LONG_NAME + " more"}, {NAME: LONG_NAME}, ["NAME_LENGTH"]),
    "one long word": ({NAME: "w" * 101}, {NAME: "w" * 100}, ["NAME_LENGTH"]),
    "long only as ASCII": ({NAME: "½" * 40}, {NAME: ("1/2" * 40)[:100]}, ["NAME_ASCII", "NAME_LENGTH"]),
    "PLU cell": ({BARCODE: "4011.0"}, {BARCODE: "4011", TYPE: "PLU"}, ["NUMERIC_CELL"]),
    "UPC cell": ({BARCODE: "36000291452.00"}, {BARCODE: "036000291452"}, ["BARCODE_PADDED", "NUMERIC_CELL"]),
    "sku cell": ({SKU: "4011.0"}, {SKU: "4011"}, ["NUMERIC_CELL"]),
    "store cell": ({STORE: "12.0"}, {STORE: "12"}, ["NUMERIC_CELL"]),
    "sku that only looks like an exponent": ({SKU: "1E5"}, {SKU: "1E5"}, []),
    "13 digits, one zero": ({BARCODE: "0836000291458"}, {BARCODE: "836000291458", TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "13 digits, two zeros": ({BARCODE: "0036000291452"}, {BARCODE: "036000291452", TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "13 digits, four zeros": ({BARCODE: "0000360012934"}, {BARCODE: "000360012934", TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "14 digits, one zero": ({BARCODE: "04006381333931"}, {BARCODE: "4006381333931", TYPE: "EAN"}, ["BARCODE_PADDED"]),
    "14 digits, two zeros": ({BARCODE: "00836000291458"}, {BARCODE: "836000291458", TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "14 digits, five zeros": ({BARCODE: "00000360012934"}, {BARCODE: "000360012934", TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "11 digits": ({BARCODE: "36000291452"}, {BARCODE: "036000291452", TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "padded, type of what it was": ({BARCODE: "0036000291452", TYPE: "EAN"}, {TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "padded, type of what it is": ({BARCODE: "0036000291452", TYPE: "UPC"}, {TYPE: "UPC"}, ["BARCODE_PADDED"]),
    "blanks and hyphens": ({BARCODE: " 0-36000 29145-2"}, {BARCODE: "036000291452"}, ["BARCODE_FORMAT"]),
    "ISBN with X": ({BARCODE: "0-9752298-0-X"}, {BARCODE: "097522980X", TYPE: "ISBN"}, ["BARCODE_FORMAT"]),
    "ISBN-13 is an EAN": ({BARCODE: "9780306406157"}, {TYPE: "EAN"}, []),
    "PLU of 3": ({BARCODE: "401"}, {TYPE: "PLU"}, []),
    "PLU of 6": ({BARCODE: "940115"}, {TYPE: "PLU"}, []),
    "EAN-8": ({BARCODE: "96385074"}, {TYPE: "EAN8"}, []),
    "UPC-E": ({BARCODE: "07838604"}, {TYPE: "UPC"}, []),
    "both, no type": ({BARCODE: "00000000"}, {TYPE: "EAN8"}, []),
    "both, type given": ({BARCODE: "00000000", TYPE: "UPC"}, {TYPE: "UPC"}, []),
    "GTIN": ({BARCODE: "10036000291459"}, {TYPE: "GTIN"}, []),
    "type in small letters": ({TYPE: " upc "}, {TYPE: "UPC"}, []),
    "price 9.5": ({PRICE: "9.5"}, {PRICE: "9.50"}, ["PRICE_FORMAT"]),
    "price 9": ({PRICE: "9"}, {PRICE: "9.00"}, ["PRICE_FORMAT"]),
    "price .5": ({PRICE: ".5"}, {PRICE: "0.50"}, ["PRICE_FORMAT"]),
    "price 9.": ({PRICE: "9."}, {PRICE: "9.00"}, ["PRICE_FORMAT"]),
    "price 009.5000": ({PRICE: "009.5000"}, {PRICE: "9.50"}, ["PRICE_FORMAT"]),
    "price 0": ({PRICE: "0"}, {PRICE: "0.00"}, ["PRICE_FORMAT"]),
    "price as it should be": ({PRICE: "1299.00"}, {PRICE: "1299.00"}, []),
    "price of blanks": ({PRICE: "  "}, {PRICE: ""}, ["NAME_TRIM"]),
    "other texts keep their accents": ({"brand_name": "Nestlé  x"}, {"brand_name": "Nestlé  x"}, []),
    "255 characters": ({"brand_name": "é" * 255, SKU: "A" * 255}, {"brand_name": "é" * 255}, []),
}


@pytest.mark.parametrize(("row", "item", "codes"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_row_is_repaired_and_the_repair_is_booked(
    judge: Any, row: dict[str, str], item: dict[str, str], codes: list[str]
) -> None:
    """A row that can be repaired is accepted as repaired, and each repair is booked with before and after."""
    result = judge(row)
    assert result.rejects.is_empty(), result.rejects
    accepted = result.accepted.row(0, named=True)
    assert {field: accepted[field] for field in item} == item
    assert sorted(set(result.repairs["code"])) == codes
    assert (result.repairs["before"] != result.repairs["after"]).all()


def extra(*barcodes: tuple[str, str]) -> list[dict[str, str]]:
    """Additional barcodes as sent."""
    return [{"external_product_id": code, "external_product_id_type": kind} for code, kind in barcodes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        (" | |", []),
        ("4011", extra(("4011", "PLU"))),
        ("|4006381333931| |PLU:4011|", extra(("4006381333931", "EAN"), ("4011", "PLU"))),
        ("ean : 4006381333931", extra(("4006381333931", "EAN"))),
        ("EAN:0836000291458", extra(("836000291458", "UPC"))),
        ("4011.0|0-9752298-0-X", extra(("4011", "PLU"), ("097522980X", "ISBN"))),
        ("|".join(str(4000 + n) for n in range(50)), extra(*((str(4000 + n), "PLU") for n in range(50)))),
    ],
)
def test_additional_barcodes_are_parsed_and_repaired_like_the_main_one(
    judge: Any, text: str | None, expected: list[dict[str, str]]
) -> None:
    """Additional barcodes are split, repaired and typed in their order; empty entries are passed over."""
    result = judge({EXTRA: text})
    assert result.accepted["additional_external_product_information"].to_list() == [expected]


@pytest.mark.parametrize(
    ("barcode", "field"),
    [
        ({BARCODE: "2000000000008"}, BARCODE),
        ({BARCODE: "212345678992"}, BARCODE),
        ({BARCODE: "0212345678992"}, BARCODE),
        ({BARCODE: "12000000000005"}, BARCODE),
        ({EXTRA: "2000000000008"}, "additional_external_product_information"),
    ],
)
def test_an_in_store_number_is_warned_of(judge: Any, barcode: dict[str, str], field: str) -> None:
    """A barcode with prefix 2 is accepted, with a warning."""
    result = judge(barcode)
    assert len(result.accepted) == 1, result.rejects
    assert result.warnings.select("code", "field").rows() == [("BARCODE_INTERNAL", field)]


def test_a_good_barcode_is_not_warned_of(judge: Any) -> None:
    """No other number is taken for an in-store number, a UPC-E that begins with 2 digits of one included."""
    assert judge({BARCODE: "4006381333931", EXTRA: "036000291452|200|07838604"}).warnings.is_empty()
