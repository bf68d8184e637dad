"""The HTTP edge: one ASGI application for the API, the reports and the control plane."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from catalog_sandbox.api import Answer, Api, Dropped
from catalog_sandbox.control import router
from catalog_sandbox.core import Core
from catalog_sandbox.notices import Notices
from catalog_sandbox.signature import Signed


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, answer.content_type)


async def _drop(request: Request, dropped: Dropped) -> Response:
    """End the connection as the fault says. Under the sandbox's own server the socket closes; elsewhere it raises."""
    transport: asyncio.Transport | None = getattr(request.state, "transport", None)
    if transport is None:
        raise dropped
    await asyncio.sleep(dropped.hold)
    if not dropped.timeout:
        # Lingering for no time makes the close a TCP reset.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return Response(status_code=500)


def build(
    core: Core, api: Api, notices: Notices | None = None, restart: Callable[[float], None] | None = None
) -> FastAPI:
    """Return the application over a core. ``restart`` makes the server go away for so many seconds and come back."""
    app = FastAPI(title="Catalog sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(core, api, notices, restart))

    @app.get("/reports/{ingestion_id}.json")
    def report(ingestion_id: str, request: Request) -> Response:
        return _response(api.report(ingestion_id, dict(request.query_params)))

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    async def operation(request: Request) -> Response:
        arrived = api.now()  # before the body is read, as the limit is on requests that start
        signed = Signed(
            method=request.method,
            path=raw_path(request.scope),
            query=request.url.query,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.body(),
        )
        try:
            return _response(await run_in_threadpool(api.answer, signed, arrived))
        except Dropped as dropped:
            return await _drop(request, dropped)

    return app


def raw_path(scope: Any) -> str:
    """Return the path as it was sent, still percent-encoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.split(b"?")[0].decode("ascii")
