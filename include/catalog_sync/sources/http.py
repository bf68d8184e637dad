"""The HTTP source: a JSON API that hands out its rows page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from catalog_sync.api.outcomes import is_worth_retrying, retry_after
from catalog_sync.clock import Clock
from catalog_sync.connections import Connections
from catalog_sync.errors import BadInput, Misconfigured, RetryLater, shorten
from catalog_sync.settings import HttpSourceSettings
from catalog_sync.sources.base import BATCH_ROWS, Source, Unreadable
from catalog_sync.sources.json_rows import Row, parse_json, rows_batch, text_row
from catalog_sync.web import is_secure

TRIES = 6
#: Seconds for each step of a request (connect, each read): a slow ERP may think for a while.
TIMEOUT = 60.0
#: No page may be larger; a page of 10,000 rows is a few MB.
MAX_PAGE = 256 * 1024 * 1024


class HttpSource(Source):
    """Rows of a paged JSON API, numbered through all pages. The connection gives base URL and credentials.

    :param transport: how requests travel; tests pass their own.
    """

    sparse = True

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
        :raises Misconfigured: the connection's address is no secure one.
        :raises RetryLater: the API did not answer, however often it was asked.
        """
        base = self._connection.base_url
        if not is_secure(base):
            raise Misconfigured(f"connection {self._settings.conn_id!r}: host = {shorten(base)!r}: must be https")
        headers = {"Accept": "application/json"}
        if token := self._connection.extra.get("authorization"):
            headers["Authorization"] = str(token)
        auth = (self._connection.login, self._connection.password) if self._connection.login else None
        first = self._step(httpx.URL(base + "/"), self._settings.endpoint.lstrip("/"))
        with httpx.Client(transport=self._transport, timeout=TIMEOUT, auth=auth, headers=headers) as http:
            yield from self._pages(http, first.copy_merge_params(self._settings.params))

    def _pages(self, http: httpx.Client, first: httpx.URL) -> Iterator[pa.RecordBatch]:
        url, number = first, 0
        seen: set[str] = set()
        while len(seen) < self._settings.max_pages:
            if str(url) in seen:
                raise BadInput(f"{self._where(url)}: a page leads back to an earlier one; nothing was read")
            seen.add(str(url))
            page = self._page(http, url)
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
            if not isinstance(step, str):  # numbers are text here
                raise BadInput(f"{self._where(url)}: next is a {type(step).__name__}, no text; nothing was read")
            url = self._step(url, step, self._settings.next_param)
        raise BadInput(
            f"{self._where(first)}: more than {self._settings.max_pages} pages (max_pages); nothing was read"
        )

    def _rows(self, rows: list[Any], before: int) -> Iterator[pa.RecordBatch]:
        good: list[tuple[int, Row]] = []
        for number, row in enumerate(rows, before + 1):
            try:
                good.append((number, text_row(row)))
            except (ValueError, RecursionError) as error:
                self.unreadable.append(Unreadable(number, "", f"is no row: {error}", shorten(row)))
        for first in range(0, len(good), BATCH_ROWS):
            chunk = good[first : first + BATCH_ROWS]
            yield rows_batch([row for _, row in chunk], [number for number, _ in chunk], "", self.unreadable)

    def _page(self, http: httpx.Client, url: httpx.URL) -> Any:
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
        return retrying(self._page_once, http, url)

    def _page_once(self, http: httpx.Client, url: httpx.URL) -> Any:
        try:
            with http.stream("GET", url) as response:
                self._check(response, url)
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_PAGE:
                        raise BadInput(f"{self._where(url)}: a page of over {MAX_PAGE} bytes; nothing was read")
        except httpx.HTTPError as error:
            raise RetryLater(f"{self._where(url)}: {type(error).__name__}; nothing was read") from None
        try:
            return parse_json(bytes(body))
        except (ValueError, RecursionError):
            raise BadInput(f"{self._where(url)}: is not JSON; nothing was read") from None

    def _check(self, response: httpx.Response, url: httpx.URL) -> None:
        if is_worth_retrying(response.status_code):
            after = retry_after(response.headers.get("Retry-After"), self._clock.time())
            raise RetryLater(f"{self._where(url)}: HTTP {response.status_code}; nothing was read", after=after)
        if not response.is_success:
            raise BadInput(f"{self._where(url)}: HTTP {response.status_code}; nothing was read")

    def _step(self, here: httpx.URL, to: str, parameter: str | None = None) -> httpx.URL:
        """Return where a page leads, by a URL or by the token of a parameter.

        Credentials go to the configured host only, wherever it leads.
        """
        try:
            url = here.copy_set_param(parameter, to) if parameter else here.join(to)
        except (httpx.InvalidURL, ValueError):
            raise BadInput(
                f"{self._where(here)}: leads to {shorten(to)!r}, which is no URL; nothing was read"
            ) from None
        if (url.scheme, url.host, url.port, url.userinfo) != (here.scheme, here.host, here.port, here.userinfo):
            raise BadInput(
                f"{self._where(here)}: leads to another host, {shorten(url.host)!r}: it gets no credentials; "
                "nothing was read"
            )
        return url

    def _where(self, url: httpx.URL) -> str:
        return f"connection {self._settings.conn_id!r}, {shorten(url.path)}"


def _dig(page: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        page = page.get(part) if isinstance(page, dict) else None
    return page
