"""The control plane: look at what the sandbox holds, order faults, start anew. It is no part of Amazon's API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any
from xml.sax.saxutils import escape

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from catalog_sandbox import page
from catalog_sandbox.api import Api
from catalog_sandbox.assumptions import ASSUMPTIONS
from catalog_sandbox.core import Core
from catalog_sandbox.faults import FaultPlan
from catalog_sandbox.notices import Notices

_LINES = "application/x-ndjson"


def _lines(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield JSON Lines in pieces of a thousand, so that a large catalog streams well."""
    piece: list[str] = []
    for record in records:
        piece.append(json.dumps(record) + "\n")
        if len(piece) == 1000:
            yield "".join(piece)
            piece.clear()
    yield "".join(piece)


def router(core: Core, api: Api, notices: Notices | None, restart: Callable[[float], None] | None = None) -> APIRouter:
    """Return the routes under ``/sandbox``. Without ``notices`` there is no subscribing, nor a restart without that."""
    routes = APIRouter(prefix="/sandbox")
    _add_views(routes, core, api)
    _add_switches(routes, core, api)
    if notices is not None:
        _add_subscriptions(routes, notices)
    if restart is not None:
        _add_restart(routes, restart)
    return routes


def _add_views(routes: APIRouter, core: Core, api: Api) -> None:
    @routes.get("", response_class=HTMLResponse)
    @routes.get("/", response_class=HTMLResponse)
    def start_page() -> str:
        return page.render(core.config)

    @routes.get("/health")
    def health() -> dict[str, Any]:
        return core.health()

    @routes.get("/assumptions")
    def assumptions() -> list[dict[str, str]]:
        return [entry.record() for entry in ASSUMPTIONS]

    @routes.get("/catalog")
    def catalog(store_id: str | None = None) -> StreamingResponse:
        return StreamingResponse(_lines(core.rows(store_id)), media_type=_LINES)

    @routes.get("/requests")
    def requests() -> StreamingResponse:
        return StreamingResponse(_lines(entry.public() for entry in api.record.all()), media_type=_LINES)

    @routes.get("/ingestions")
    def ingestions() -> StreamingResponse:
        return StreamingResponse(_lines(core.records()), media_type=_LINES)


def _add_switches(routes: APIRouter, core: Core, api: Api) -> None:
    @routes.get("/faults")
    def get_faults() -> dict[str, Any]:
        return core.faults.plan.model_dump(mode="json")

    @routes.put("/faults")
    async def put_faults(request: Request) -> Response:
        try:
            plan = FaultPlan.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        core.faults.replace(plan)
        return JSONResponse(plan.model_dump(mode="json"))

    @routes.post("/reset")
    def reset() -> dict[str, Any]:
        core.reset()
        api.reset()
        return core.health()


def _add_restart(routes: APIRouter, restart: Callable[[float], None]) -> None:
    @routes.post("/restart")
    def restart_after_the_answer(down: Annotated[float, Query(ge=0, le=600)] = 1.0) -> Response:
        # In a thread of its own: what answers requests is what ends.
        leave = threading.Thread(target=restart, args=(down,), name="sandbox-restart", daemon=True)
        return JSONResponse({"down": down}, status_code=202, background=BackgroundTask(leave.start))


def _add_subscriptions(routes: APIRouter, notices: Notices) -> None:
    @routes.post("/subscribe")
    async def subscribe(request: Request) -> Response:
        try:
            queue = str(json.loads(await request.body())["queueArn"])
        except (ValueError, KeyError, TypeError):
            queue = ""
        if not queue.startswith("arn:"):
            return JSONResponse({"error": 'the body must be {"queueArn": "arn:aws:sqs:..."}'}, status_code=400)
        return JSONResponse(await run_in_threadpool(notices.subscribe, queue))

    @routes.get("/sns")
    def sns(request: Request) -> Response:
        if request.query_params.get("Action") != "ConfirmSubscription":
            return Response(status_code=400)
        queue = notices.confirm(request.query_params.get("Token", ""))
        if queue is None:
            text = "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>"
            return Response(text, status_code=400, media_type="text/xml")
        result = f"<SubscriptionArn>{escape(queue)}</SubscriptionArn>"
        text = f"<ConfirmSubscriptionResponse><ConfirmSubscriptionResult>{result}</ConfirmSubscriptionResult>"
        return Response(f"{text}</ConfirmSubscriptionResponse>", media_type="text/xml")

    @routes.get("/SimpleNotificationService{rest}.pem")
    def certificate(rest: str) -> Response:
        return Response(notices.certificate, media_type="application/x-pem-file")
