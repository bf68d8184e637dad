"""Finding runs by their name: what a person types or clicks never becomes a path before it is known to be a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from catalog_sync import journal
from catalog_sync.errors import BadInput, shorten
from catalog_sync.run import Kind

if TYPE_CHECKING:
    from catalog_sync.run import Run

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
#: So many records are looked at for the newest run.
_RECENT = 50


class NotFound(BadInput):
    """What was asked for does not exist (yet)."""


def named(run: Run, name: str = "") -> Run:
    """Return the run called ``name``; an empty name is the newest night that was no dry run, or if none the newest run.

    :param run: any run of the retailer, opened to read.
    :raises NotFound: there is no such run.
    """
    if not name:
        records = [record for record in journal.newest(run, _RECENT) if not record["dry_run"]]
        nights = [record for record in records if record["kind"] == Kind.NIGHT.value]
        if not records:
            raise NotFound("No run has begun yet.")
        name = str((nights or records)[0]["run_id"])
    if not _NAME.fullmatch(name) or not run.lake.exists(run.of(name).key("run.json")):
        raise NotFound(f"There is no run {shorten(name)!r}.")
    return run.of(name)
