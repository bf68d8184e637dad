"""What Amazon's public documents do not say, and what the sandbox does instead. One table feeds page, API and docs.

U1 to U36 are the project's numbers for the unknowns; S numbers are further choices of the sandbox itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumption:
    """One unknown and the choice made for it."""

    code: str
    unknown: str
    choice: str

    def record(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {"code": self.code, "unknown": self.unknown, "choice": self.choice}


ASSUMPTIONS = (
    Assumption(
        "U1",
        "Host names, stage path and regions of the API",
        "Loopback; a stage path is a setting (`stage`), and a signature for another region "
        "than `region` is refused with 403.",
    ),
    Assumption("U2", "Body of a 403", 'Gateway style: {"message": "..."}.'),
    Assumption(
        "U3",
        "Texts for more than 10,000 items and for over-long fields",
        "400 with texts of its own: 'Request exceeds the maximum of 10000 items', "
        "'Field <name> exceeds the maximum length of 255 characters'.",
    ),
    Assumption(
        "U4",
        "Full texts of a 500",
        "'Internal server error, please retry again' when a retry is recommended, else 'Internal server error'. "
        "Only as a fault.",
    ),
    Assumption(
        "U5",
        "Scope of the 10 requests per second",
        "Per AWS account over all operations, in any one-second window of real time; refused requests count too.",
    ),
    Assumption("U6", "Retry-After on a 429", "Absent."),
    Assumption("U7", "Format of the ingestionId", "An opaque string; here a UUID."),
    Assumption(
        "U8",
        "Meaning of CANCELLED and FATAL",
        "Both end an ingestion. CANCELLED applied nothing; FATAL applied nothing or, as a fault, the first half "
        "of the items.",
    ),
    Assumption("U9", "End of a batch with some bad items", "DONE, with one error per bad item in the report."),
    Assumption(
        "U10",
        "reportDownloadLink before DONE and on CANCELLED and FATAL",
        "An empty string before the end; a link on DONE; an empty string on the other two, or with `failure_reports` "
        "a link to a report whose items are not listed.",
    ),
    Assumption(
        "U11",
        "Whether a status call gives a fresh link",
        "Yes, a fresh 60-minute link per call; the faults link_missing and link_expired take it away.",
    ),
    Assumption(
        "U12",
        "Keys of the SNS message",
        '{"ingestionId", "processingStatus", "reportDownloadLink"} as in the status API, as text in the SNS envelope.',
    ),
    Assumption("U13", "For which states a notice is sent", "For every end: DONE, CANCELLED and FATAL."),
    Assumption(
        "U14",
        "Keys of the report, error codes, whether successes are listed",
        'JSON: {"ingestionId", "processingStatus", "summary": {"totalItems", "succeeded", "failed"}, "items": '
        '[{"itemSku", "storeId", "status": "SUCCESS"|"FAILED", "errorCode", "errorMessage"}]}; every item is listed '
        "unless `failures_only`. An archive lists one line per SKU, with an empty storeId.",
    ),
    Assumption(
        "U15",
        "Retention, visibility and redrive of the retailer's queue",
        "The sandbox makes no queue: it belongs to the retailer. Where a queue has a policy, it must let the topic in.",
    ),
    Assumption(
        "U16", "Template parameters, Lambda names, DynamoDB keys", "Not modelled: they are on the retailer's side."
    ),
    Assumption("U17", "Format of standard_price", "Digits, then at most a dot and two decimals; else an item error."),
    Assumption("U18", "Values of tax code and categories", "Any string of at most 255 characters."),
    Assumption("U19", "Lengths of price, brand, tax code and categories", "255 as for the others; longer is a 400."),
    Assumption(
        "U20",
        "The same SKU and store twice in a request",
        "The last one counts; the others share its outcome and carry warningCode DUPLICATE_ITEM.",
    ),
    Assumption(
        "U21",
        "The same barcode on two SKUs",
        "An item error (BARCODE_IN_USE) when another ACTIVE SKU of the store has it, main and additional barcodes "
        "together, compared as GTIN-14.",
    ),
    Assumption("U22", "Additional barcodes on a re-upload", "Replaced; an omitted array means none."),
    Assumption("U23", "Omitted optional fields on a re-upload", "Cleared: the whole record is replaced."),
    Assumption(
        "U24",
        "Order of two uploads that touch one SKU",
        "No promise: each takes its own time, and what ends later is applied later.",
    ),
    Assumption("U25", "Idempotency of an upload", "None: a repeat is a second ingestion with an id of its own."),
    Assumption(
        "U26",
        "Archive: response code and error texts",
        "201 with ingestionId; 400 with an errorMsg that lists the missing stores and all available stores.",
    ),
    Assumption("U27", "How long an ingestion can be asked for", "As long as the sandbox runs."),
    Assumption("U28", "Columns and names of the intra-day files", "Not modelled."),
    Assumption("U29", "Schema of the CART events", "Not modelled."),
    Assumption("U30", "Columns of the portal's catalog report", "Not modelled; /sandbox/catalog shows the catalog."),
    Assumption("U31", "Recommended polling interval", "None enforced; polls count towards the rate limit."),
    Assumption(
        "U32",
        "Where the hour of propagation starts",
        "At DONE; /sandbox/ingestions shows when it ends as populated_at. /sandbox/catalog shows items once applied.",
    ),
    Assumption("U33", "Rules of the Edit, Create and Archive Item pages", "Not modelled."),
    Assumption(
        "U34", "What an upload does to an archived SKU", "It makes it ACTIVE again, in the stores it is uploaded for."
    ),
    Assumption("U35", "What a refused update does to the row that is there", "Nothing: the old row stays."),
    Assumption(
        "U36",
        "When a barcode moves from one SKU to another",
        "Only once its holder gave it up: by an earlier item of the same request, an earlier ingestion, or an archive.",
    ),
    Assumption("S1", "Largest request", 'That of API Gateway, 10 MiB; more is 413 with {"message": "..."}.'),
    Assumption(
        "S2",
        "More than 50 additional barcodes",
        "400: 'additional_external_product_information exceeds the maximum of 50 entries'.",
    ),
    Assumption(
        "S3",
        "Values that are no strings, required fields that are empty, an empty catalogItems",
        "400 'Invalid request body'. Unknown fields are ignored and kept.",
    ),
    Assumption(
        "S4",
        "Stores of another retailer only",
        "400 as for unknown stores: the caller cannot tell the one from the other.",
    ),
    Assumption(
        "S5",
        "At which stage SKU, name, barcode and price are judged",
        "In processing: the answer is 201 and the report says SKU_FORMAT, ITEM_NAME, BARCODE_TYPE, BARCODE_LENGTH, "
        "BARCODE_FORMAT, BARCODE_CHECK_DIGIT or PRICE_FORMAT. A name of 101 to 255 characters is refused there.",
    ),
    Assumption(
        "S6",
        "Barcode without a type; types as a closed list",
        "The length decides; eight digits may be a UPC-E or an EAN-8. A type that is not named is an item error.",
    ),
    Assumption("S7", "Archive errors", "SKU_NOT_FOUND, SKU_ALREADY_ARCHIVED, SKU_ON_PLANOGRAM, in the report."),
    Assumption(
        "S8",
        "Signature of the notices",
        "As SNS, version 2 (SHA-256) unless `signature_version` is 1; the certificate comes from the sandbox.",
    ),
)
