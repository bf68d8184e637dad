"""Telling people after a run: the stores what changed in them, the owners of sources what is wrong with their rows.

The notices are files of the run first; then they go through the channels of ``notify``, each once, however often this
is done. A channel that fails fails nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from catalog_sync.abandoned import abandoned
from catalog_sync.clock import iso
from catalog_sync.errors import BadInput, CatalogSyncError
from catalog_sync.notify import send_once
from catalog_sync.source_notices import make_source_notices, source_messages
from catalog_sync.store_notices import make_store_notices, store_messages

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)


def tell(run: Run) -> dict[str, Any]:
    """Make the run's notices and send them, and those to stores of runs that died, whose books this run is to make.

    :returns: how many ``stores`` have something to be told, how many ``sources`` were read, and how many messages were
        ``sent`` now. Nothing is sent of a run that is older than ``ledger.keep``: nobody knows any more whether it was.
    """
    sent: Counter[str] = Counter()
    if run.forgotten:
        log.warning("Run %s is older than ledger.keep: its notices are not sent again", run.run_id)
        return {"stores": 0, "sources": 0, "sent": 0}
    for run_id in abandoned(run):
        try:
            _tell_stores(run.of(run_id), sent)
        except CatalogSyncError as error:  # what is wrong with another run must not cost this one its notices
            log.error("The stores cannot be told of run %s, which died: %s", run_id, error)
    stores = _tell_stores(run, sent)
    sources = make_source_notices(run)
    for name, message in source_messages(run, sources):
        sent.update(send_once(run, run.settings.notify.sources, message, name))
    log.info("Notices: %s stores, %s sources; sent now: %s", len(stores), len(sources), dict(sent) or "nothing")
    return {"stores": len(stores), "sources": len(sources), "sent": sent.total()}


def _tell_stores(run: Run, sent: Counter[str]) -> list[dict[str, Any]]:
    stores = make_store_notices(run)
    for name, message in store_messages(run, stores):
        sent.update(send_once(run, run.settings.notify.stores, message, name))
    return stores


def read_notices(run: Run, about: str = "") -> dict[str, list[dict[str, Any]]]:
    """Return the notices that a run has made, ``stores`` and ``sources``, each as its JSON file has it.

    ``sent`` is added: by channel when it took the message, or ``"not known"`` where the sender died meanwhile.

    :param about: only those of this store or source; empty: all.
    :raises BadInput: there is no such run.
    """
    if not run.lake.exists(run.key("run.json")):
        raise BadInput(f"there is no run {run.run_id!r} in {run.lake.uri}/runs")
    keys = run.lake.keys(run.key("notices-parts"))
    indexes = sorted(key for key in keys if key.endswith("-stores.json"))
    made = {"stores": [one for key in indexes for one in run.lake.get_json(key)], "sources": []}
    if run.lake.exists(run.key("notices-parts/sources.json")):
        made["sources"] = run.lake.get_json(run.key("notices-parts/sources.json"))
    sent = _sent(run)
    names = {"stores": "store/{store}/{part}", "sources": "source/{source}"}
    return {
        kind: [
            {**run.lake.get_json(one["files"]["json"]), "sent": sent.get(names[kind].format(**one), {})}
            for one in many
            if about in ("", one[kind.removesuffix("s")])
        ]
        for kind, many in made.items()
    }


def _sent(run: Run) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for item in run.ledger.query(f"RUN#{run.run_id}", "NOTICE#"):
        name, _, channel = str(item["sk"]).removeprefix("NOTICE#").rpartition("#")
        found.setdefault(name, {})[channel] = iso(float(item["sent_at"])) if "sent_at" in item else "not known"
    return found
