"""What every request to the page must meet, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Own scripts and styles only, none inline; shown inside Airflow's own pages only.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
#: What an answer carries unless it says otherwise: what is shown must not stay in a shared cache.
DEFAULTS = {"cache-control": "no-store"}


class Guard:
    """Lets through what only reads, and what another site did not embed or fetch."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI)."""

        async def secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_headers(message.get("headers", ()))}
            await send(message)

        if scope["type"] != "http":
            return
        if refusal := _refusal(scope):
            status, text = refusal
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await secured({"type": "http.response.start", "status": status, "headers": headers})
            await secured({"type": "http.response.body", "body": text.encode()})
            return
        await self._app(scope, receive, secured)


def _refusal(scope: Any) -> tuple[int, str] | None:
    if scope["method"] not in ("GET", "HEAD"):
        return 405, "This page only shows: GET is all that it knows."
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    elsewhere = headers.get(b"sec-fetch-site") == "cross-site"
    if elsewhere and headers.get(b"sec-fetch-mode") != "navigate":
        return 403, "Another site must not fetch this."
    return None


def _with_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    more = {**HEADERS, **{name: value for name, value in DEFAULTS.items() if name.encode() not in names}}
    return [*given, *((name.encode(), value.encode()) for name, value in more.items())]
