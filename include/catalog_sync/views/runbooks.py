"""The runbooks, as the page shows them: what to do, without leaving it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalog_sync.alerts.kinds import RUNBOOKS
from catalog_sync.errors import shorten
from catalog_sync.lookup import NotFound

#: Where they lie beside the code: in a checkout, and in the image.
FOLDER = Path(__file__).resolve().parents[3] / RUNBOOKS


def runbook(page: str) -> dict[str, Any]:
    """Return ``page`` and its ``text`` (Markdown).

    :param page: the name of its file. It is only looked up among those that are there, and never becomes a path.
    :raises NotFound: there is no such page here.
    """
    for path in FOLDER.glob("*.md"):
        if path.name == page:
            return {"page": page, "text": path.read_text(encoding="utf-8")}
    raise NotFound(f"There is no runbook {shorten(page)!r} here; in the project they are in {RUNBOOKS}.")
