"""The HTTP source: a JSON API that hands out its rows page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pyarrow as pa
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from catalog_sync.api.outcomes import is_worth_retrying, retry_after
from catalog_sync.clock import Clock
from catalog_sync.connections import Connections
from catalog_sync.errors import BadInput, Misconfigured, RetryLater, shorten
from catalog_sync.settings import HttpSourceSettings
from catalog_sync.sources.base import BATCH_ROWS, Source, Unreadable
from catalog_sync.sources.formats import parse_json, records_batch, text_of
from catalog_sync.web import is_secure

TRIES = 6
#: No page may be larger; a page of 10,000 rows is a few MB.
MAX_PAGE = 256 * 1024 * 1024


class HttpSource(Source):
    """Rows of a paged JSON API. The connection gives base URL and credentials.

    :param transport: how requests travel; tests pass their own.
    """

    def __init__(
        self,
        settings: HttpSourceSettings,
        connections: Connections,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._connection = connections.get(settings.conn_id)
        self._clock = clock
        self._transport = transport

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of every page.

        :raises BadInput: a page is no JSON, lacks its rows, leads to another host or back to an earlier page.
        """
        base = self._connection.base_url
        if not is_secure(base):
            raise Misconfigured(f"connection {self._settings.conn_id!r}: host = {shorten(base)!r}: must be https")
        headers = {"Accept": "application/json"}
        if token := self._connection.extra.get("authorization"):
            headers["Authorization"] = str(token)
        auth = (self._connection.login, self._connection.password) if self._connection.login else None
        with httpx.Client(transport=self._transport, timeout=60.0, auth=auth, headers=headers) as http:
            yield from self._pages(http, urljoin(base + "/", self._settings.endpoint.lstrip("/")))

    def _pages(self, http: httpx.Client, first: str) -> Iterator[pa.RecordBatch]:
        url, params = first, dict(self._settings.params)
        seen: set[tuple[str, str]] = set()
        number = 0
        for _ in range(self._settings.max_pages):
            here = (url, params.get(self._settings.next_param or "", ""))
            if here in seen:
                raise BadInput(f"{self._where(url)}: a page leads back to an earlier one; nothing was read")
            seen.add(here)
            page = self._page(http, url, params)
            rows = _dig(page, self._settings.rows)
            if not isinstance(rows, list):
                raise BadInput(
                    f"{self._where(url)}: rows = {self._settings.rows!r}: there is no list; nothing was read"
                )
            yield from self._rows(rows, number)
            number += len(rows)
            step = _dig(page, self._settings.next) if self._settings.next else None
            if step in (None, "", False):
                return
            if self._settings.next_param:
                params = {**params, self._settings.next_param: str(step)}
            else:
                url, params = self._same_host(first, urljoin(url, str(step))), {}
        raise BadInput(
            f"{self._where(first)}: more than {self._settings.max_pages} pages (max_pages); nothing was read"
        )

    def _rows(self, rows: list[Any], before: int) -> Iterator[pa.RecordBatch]:
        good = []
        for number, row in enumerate(rows, before + 1):
            if isinstance(row, dict):
                good.append((number, {key: text_of(value) for key, value in row.items()}))
            else:
                self.unreadable.append(Unreadable(number, "", f"is a JSON {type(row).__name__}, not an object"))
        for first in range(0, len(good), BATCH_ROWS):
            chunk = good[first : first + BATCH_ROWS]
            yield records_batch([row for _, row in chunk], [number for number, _ in chunk], "")

    def _page(self, http: httpx.Client, url: str, params: dict[str, str]) -> Any:
        backoff = wait_exponential_jitter(initial=1, max=30, jitter=1)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return max(getattr(error, "after", None) or 0.0, backoff(state))

        retrying = Retrying(
            retry=retry_if_exception_type(RetryLater),
            stop=stop_after_attempt(TRIES),
            wait=pause,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(self._page_once, http, url, params)

    def _page_once(self, http: httpx.Client, url: str, params: dict[str, str]) -> Any:
        try:
            response = http.get(url, params=params or None)
        except httpx.HTTPError as error:
            raise RetryLater(f"{self._where(url)}: {type(error).__name__}") from None
        if is_worth_retrying(response.status_code):
            after = retry_after(response.headers.get("Retry-After"), self._clock.time())
            raise RetryLater(f"{self._where(url)}: HTTP {response.status_code}", after=after)
        if not response.is_success:
            raise BadInput(f"{self._where(url)}: HTTP {response.status_code}; nothing was read")
        if len(response.content) > MAX_PAGE:
            raise BadInput(f"{self._where(url)}: a page of {len(response.content)} bytes; at most {MAX_PAGE}")
        try:
            return parse_json(response.content)
        except (ValueError, RecursionError):
            raise BadInput(f"{self._where(url)}: is not JSON; nothing was read") from None

    def _same_host(self, first: str, url: str) -> str:
        """Credentials go to the configured host only, wherever a page may lead."""
        if urlsplit(url)[:2] != urlsplit(first)[:2]:
            raise BadInput(f"{self._where(first)}: a page leads to another host, {shorten(urlsplit(url).netloc)}")
        return url

    def _where(self, url: str) -> str:
        return f"connection {self._settings.conn_id!r}, {shorten(urlsplit(url).path)}"


def _dig(page: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        page = page.get(part) if isinstance(page, dict) else None
    return page
