"""The page's own files, from this folder and nowhere else, for those who may see the page."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

FOLDER = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def known() -> dict[str, Path]:
    """Return the files that are served, by the name under which they are: nothing that is asked for becomes a path."""
    return {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*")) if path.suffix in _TYPES}


def add(router: APIRouter) -> None:
    """Add the routes of the page and its files."""

    @router.get("/")
    def page(request: Request) -> Response:
        return _file(request, "index.html")

    @router.get("/static/{name:path}")
    def static(request: Request, name: str) -> Response:
        return _file(request, name)


def _file(request: Request, name: str) -> Response:
    path = known().get(name)
    if path is None:
        raise HTTPException(404, "There is no such file.")
    data = path.read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=f"{_TYPES[path.suffix]}; charset=utf-8", headers=headers)
