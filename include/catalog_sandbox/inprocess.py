"""The sandbox without a network: an httpx transport whose connections end as the faults say.

For simulations: one thread, a clock that the test moves, no sockets.
"""

from __future__ import annotations

from email.utils import formatdate

import httpx

from catalog_sandbox.api import Api, Dropped
from catalog_sandbox.signature import Signed


class SandboxTransport(httpx.BaseTransport):
    """Carries requests of an ``httpx.Client`` straight to the API and to the reports."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer; a reset is an ``httpx.ReadError``, a time-out an ``httpx.ReadTimeout``."""
        path = request.url.raw_path.split(b"?")[0].decode("ascii")
        if request.method == "GET" and path.startswith("/reports/"):
            ingestion_id = path.removeprefix("/reports/").removesuffix(".json")
            answer = self._api.report(ingestion_id, dict(request.url.params))
        else:
            headers = {name.lower(): value for name, value in request.headers.items()}
            query = request.url.query.decode("ascii")
            try:
                answer = self._api.answer(Signed(request.method, path, query, headers, request.read()))
            except Dropped as dropped:
                kind = httpx.ReadTimeout if dropped.timeout else httpx.ReadError
                raise kind(f"injected: {dropped}", request=request) from dropped
        # Every server sends the time of its answer (RFC 9110, section 6.6.1).
        date = formatdate(self._api.now(), usegmt=True)
        headers = {"content-type": answer.content_type, "date": date, **answer.headers}
        return httpx.Response(answer.status, headers=headers, content=answer.body, request=request)
