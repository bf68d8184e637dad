"""Processing reports: fetched while their link lives, read leniently, and joined with what was sent.

The shape is assumed (U14), and this module is the one adapter that knows it: ``{"ingestionId", "processingStatus",
"summary": {"totalItems", "succeeded", "failed"}, "items": [{"itemSku", "storeId", "status": "SUCCESS"|"FAILED",
"errorCode", "errorMessage"}]}``. Unknown keys are ignored and missing ones tolerated; what cannot be told is *unknown*,
never acknowledged.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl
from pydantic_core import from_json

from catalog_sync.api.outcomes import link_is_dead
from catalog_sync.clock import Clock, SystemClock
from catalog_sync.contract.frames import short
from catalog_sync.errors import RetryLater, shorten
from catalog_sync.fields import KEY
from catalog_sync.keyed import repeated
from catalog_sync.web import is_secure

#: No report is read beyond this: 10,000 items with 50 errors each are far smaller.
MAX_BYTES = 200 * 1024 * 1024
#: A count of so many digits is none.
MAX_DIGITS = 16
#: Amazon's error texts are kept up to this many characters.
MAX_MESSAGE = 300
#: Its codes, too: whatever they are, a run's refusals by code are kept in one item of the ledger, at most 400 KB.
MAX_CODE = 100

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
#: Codes of our own, for rows whose end the report does not tell.
NOT_LISTED, CONTRADICTED, NO_STATUS = "NOT_IN_REPORT", "LISTED_TWICE", "NO_ITEM_STATUS"

_SUCCESS, _FAILED = "SUCCESS", "FAILED"
_ITEMS = {key: pl.String for key in ("item_sku", "store_id", "status", "error_code", "error_message")}
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class LinkExpired(RetryLater):
    """The presigned link no longer works (it lives 60 minutes): ask the status API for a fresh one."""


class NotAReport(RetryLater):
    """What lies behind the link is no whole report of this ingestion: fetch it again through a fresh link."""


@dataclass(frozen=True)
class Report:
    """One report.

    ``items`` has the text columns ``item_sku``, ``store_id``, ``status``, ``error_code``, ``error_message``. The
    counters are ``None`` where the report has none; ``malformed`` entries of its list name no item at all.
    """

    ingestion_id: str
    status: str
    total: int | None
    succeeded: int | None
    failed: int | None
    items: pl.DataFrame
    malformed: int = 0


def fetch(
    link: str, *, transport: httpx.BaseTransport | None = None, timeout: float = 60.0, clock: Clock | None = None
) -> bytes:
    """Return the bytes behind a report link, as they came. The link is a secret and appears in no message.

    :param timeout: seconds to wait for the network, each time; in all it may take ten times as long.
    :raises LinkExpired: the link no longer works.
    :raises NotAReport: it leads to an error page, to nothing, or to more than ``MAX_BYTES``.
    :raises RetryLater: it cannot be fetched now.
    """
    if not is_secure(link):
        raise NotAReport("the report link is not an https address; nothing was fetched")
    host = urlsplit(link).netloc
    try:
        with (
            httpx.Client(transport=transport, timeout=timeout) as client,
            client.stream("GET", link) as response,
        ):
            if link_is_dead(response.status_code):
                raise LinkExpired(f"{host}: the report link has expired")
            if not response.is_success:
                raise RetryLater(f"{host}: HTTP {response.status_code} instead of the report")
            data = _read(response, host, clock or SystemClock(), 10 * timeout)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Not chained: the original error knows the link.
        raise RetryLater(f"{host}: {type(error).__name__} while the report was fetched") from None
    if data.removeprefix(_BOM).lstrip()[:1] not in (b"{", b"\x1f"):
        raise NotAReport(f"{host}: not a JSON report but {shorten(data[:40].decode('utf-8', 'replace'), 40)!r}")
    return data


def _read(response: httpx.Response, host: str, clock: Clock, patience: float) -> bytes:
    data = bytearray()
    began = clock.time()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > MAX_BYTES:
            raise NotAReport(f"{host}: more than {MAX_BYTES} bytes, which no report has")
        if clock.time() - began > patience:
            raise RetryLater(f"{host}: the report trickles: {len(data)} bytes in {patience:.0f} s")
    return bytes(data)


def parse(data: bytes, *, ingestion_id: str) -> Report:
    """Return the report in ``data`` (JSON, or gzip of it).

    :param ingestion_id: whose report it must be.
    :raises NotAReport: it is truncated, no JSON object, without any key of a report (an error's JSON, say), or the
        report of another ingestion.
    """
    document = _document(data, ingestion_id)
    named = document.get("ingestionId")
    if named is not None and named != ingestion_id:
        raise NotAReport(f"the report of {shorten(ingestion_id)!r} is that of {shorten(named)!r}")
    listed = document.get("items")
    if listed is not None and not isinstance(listed, list):
        raise NotAReport(f"the report of {shorten(ingestion_id)!r}: items is a {type(listed).__name__}, not a list")
    summary = document.get("summary")
    if not document.keys() & {"ingestionId", "summary", "items"}:
        keys = shorten(", ".join(sorted(document))) or "nothing in it"
        raise NotAReport(f"no report of {shorten(ingestion_id)!r} but JSON with {keys}")
    counts = summary if isinstance(summary, dict) else {}
    entries = [entry for entry in listed or [] if isinstance(entry, dict) and entry.get("itemSku") is not None]
    return Report(
        ingestion_id=ingestion_id,
        status=str(document.get("processingStatus") or ""),
        total=_count(counts.get("totalItems")),
        succeeded=_count(counts.get("succeeded")),
        failed=_count(counts.get("failed")),
        items=_frame(entries),
        malformed=len(listed or []) - len(entries),
    )


def _document(data: bytes, ingestion_id: str) -> dict[str, Any]:
    try:
        value = from_json(plain(data))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise NotAReport(
            f"the report of {shorten(ingestion_id)!r} is truncated or not JSON: {type(error).__name__}"
        ) from None
    if not isinstance(value, dict):
        raise NotAReport(f"the report of {shorten(ingestion_id)!r} is a JSON {type(value).__name__}, not an object")
    return value


def plain(data: bytes) -> bytes:
    """Return a report's JSON, as it came or out of its gzip.

    :raises ValueError: it is larger than any report.
    """
    if not data.startswith(_GZIP):
        return data.removeprefix(_BOM)
    plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_BYTES + 1)
    if len(plain) > MAX_BYTES:
        raise ValueError("too large")
    return plain


def _frame(entries: list[dict[str, Any]]) -> pl.DataFrame:
    keys = ("itemSku", "storeId", "status", "errorCode", "errorMessage")
    return pl.DataFrame(
        [_texts(name, [entry.get(key) for entry in entries]) for name, key in zip(_ITEMS, keys, strict=True)]
    )


def _texts(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=pl.String, strict=True)
    except TypeError:
        return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    return str(value) if isinstance(value, (int, float)) else json.dumps(value)


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < MAX_DIGITS:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def outcomes(report: Report, sent: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that were sent, in their order, with what became of each.

    Adds the text columns ``outcome``, ``code`` and ``message``, never null. A row is

    - listed as ``SUCCESS``: acknowledged; as ``FAILED``: refused, its code kept, whatever it is (U14); with any other
      status or none: unknown, since nobody can say whether Amazon has applied the row;
    - listed twice with different outcomes: unknown;
    - not listed: acknowledged only if the report lists nothing but failures, each of a row that was sent, and its
      summary agrees with that; otherwise unknown.

    :param sent: has the text columns ``store_id`` and ``item_sku``, one row for each pair.
    """
    judged = _judged(report)
    unlisted = ACKNOWLEDGED if _unlisted_succeeded(report, judged, sent) else UNKNOWN
    return sent.join(judged, on=KEY, how="left", maintain_order="left").with_columns(
        pl.col("outcome").fill_null(unlisted),
        pl.col("code").fill_null("" if unlisted == ACKNOWLEDGED else NOT_LISTED),
        pl.col("message").fill_null(""),
    )


def archive_outcomes(report: Report, sent: pl.DataFrame) -> pl.DataFrame:
    """Return the SKUs that an archive named, as ``outcomes`` does; one that was archived before is acknowledged.

    :param sent: has the text columns ``store_id``, empty, and ``item_sku``.
    """
    told = outcomes(_in_no_store(report), sent)
    text = pl.concat_str("code", pl.lit(" "), "message")
    already = (pl.col("outcome") == REFUSED) & text.str.contains(r"(?i)already[\s_-]*archived")
    return told.with_columns(outcome=pl.when(already).then(pl.lit(ACKNOWLEDGED)).otherwise("outcome"))


def on_planogram(text: pl.Expr) -> pl.Expr:
    """Tell whether an error's code or message says that the item still is on a planogram (``archive_catalog_api``)."""
    return text.str.contains("(?i)planogram")


def _in_no_store(report: Report) -> Report:
    """Return the report of an archive, which is about all stores, without the stores that its lines may name."""
    return replace(report, items=report.items.with_columns(store_id=pl.lit("")))


def strangers(report: Report, sent: pl.DataFrame, archive: bool = False) -> int:
    """Return how many entries of the report name no row that was sent."""
    report = _in_no_store(report) if archive else report
    return report.malformed + report.items.join(sent, on=KEY, how="anti").height


def _judged(report: Report) -> pl.DataFrame:
    """Return one row for each listed (store, SKU): ``store_id``, ``item_sku``, ``outcome``, ``code``, ``message``."""
    status = pl.col("status").str.strip_chars().str.to_uppercase().fill_null("")
    error = pl.col("error_code").fill_null("")
    judged = report.items.select(
        *KEY,
        outcome=pl.when(status == _SUCCESS)
        .then(pl.lit(ACKNOWLEDGED))
        .when(status == _FAILED)
        .then(pl.lit(REFUSED))
        .otherwise(pl.lit(UNKNOWN)),
        code=short(
            pl.when((error != "") | (status == _SUCCESS))
            .then(error)
            .when(status != "")
            .then(status)
            .otherwise(pl.lit(NO_STATUS)),
            MAX_CODE,
        ),
        message=pl.col("error_message").fill_null("").str.slice(0, MAX_MESSAGE),
    )
    if repeated(judged).is_empty():
        return judged
    return (
        judged.group_by(KEY, maintain_order=True)
        .agg(pl.col("outcome").n_unique().alias("ends"), pl.col("outcome", "code", "message").first())
        .with_columns(
            outcome=pl.when(pl.col("ends") > 1).then(pl.lit(UNKNOWN)).otherwise("outcome"),
            code=pl.when(pl.col("ends") > 1).then(pl.lit(CONTRADICTED)).otherwise("code"),
        )
        .drop("ends")
    )


def _unlisted_succeeded(report: Report, judged: pl.DataFrame, sent: pl.DataFrame) -> bool:
    """Whether the rows that the report does not list have succeeded, by its own numbers."""
    only_failures = judged.height == judged.filter(pl.col("outcome") == REFUSED).height
    return (
        only_failures
        and strangers(report, sent) == 0
        and report.total == sent.height
        and report.failed == judged.height
        and report.succeeded in (None, sent.height - judged.height)
    )
