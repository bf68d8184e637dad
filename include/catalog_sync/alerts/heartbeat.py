"""The heartbeat: what is missing when no run comes at all, and so must be watched from outside Airflow.

Each complete night puts a CloudWatch metric, whose absence the alarm of ``include/cloudformation/catalog-sync.yaml``
tells, and calls an address that others watch (healthchecks.io, Cronitor, Better Stack and the like).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from catalog_sync.errors import Misconfigured
from catalog_sync.run import Kind
from catalog_sync.web import is_secure

if TYPE_CHECKING:
    from catalog_sync.run import Run

log = logging.getLogger(__name__)

#: What the template's alarm watches, and what the role may put.
NAMESPACE, METRIC = "CatalogSync", "CompleteRuns"
#: Seconds that a call of the address may take, and how often it is tried: a lost one wakes somebody at night.
TIMEOUT, TRIES, PAUSE = 10.0, 3, 5.0
#: How old, in seconds, a run may be that is a heartbeat.
DAY = 86_400.0


def beat(
    run: Run, books: dict[str, Any], cloudwatch: Any = None, transport: httpx.BaseTransport | None = None
) -> list[str]:
    """Tell the watchers that a night came to its end; never raises.

    Only a complete run about the whole catalog is a heartbeat: a backfill of one store proves nothing. It is one once,
    and only within a day after it began: a run that is cleared later does not say that a night has come.

    :returns: which were told: ``metric``, ``ping``.
    """
    options = run.options
    part = not options.whole or options.kind is Kind.COLLECT
    if part or books["dry_run"] or books["state"] != "complete":
        return []
    if run.clock.time() - float(books["started_at"]) > DAY or _has_beaten(run):
        return []
    heartbeat, told = run.settings.alerts.heartbeat, []
    if heartbeat.metric and _tried("the metric", lambda: _put(run, cloudwatch)):
        told.append("metric")
    conn_id = heartbeat.ping_conn_id
    if conn_id and _tried(f"connection {conn_id}", lambda: _ping(run, conn_id, transport)):
        told.append("ping")
    if told and len(told) == bool(heartbeat.metric) + bool(conn_id):
        _tried("the ledger", lambda: run.ledger.put_new({**_mark(run), "expires_at": run.expires_at}))
    return told


def _mark(run: Run) -> dict[str, Any]:
    return {"pk": f"RUN#{run.run_id}", "sk": "BEAT"}


def _has_beaten(run: Run) -> bool:
    """Tell whether the run has told all of its watchers; without the ledger it tells them once more."""
    found: list[Any] = []
    return _tried("the ledger", lambda: found.append(run.ledger.get(**_mark(run)))) and found[0] is not None


def _put(run: Run, cloudwatch: Any) -> None:
    client = cloudwatch or run.aws.client("cloudwatch")
    about = [{"Name": "Retailer", "Value": run.settings.retailer}]
    client.put_metric_data(
        Namespace=NAMESPACE, MetricData=[{"MetricName": METRIC, "Dimensions": about, "Value": 1, "Unit": "Count"}]
    )


def _ping(run: Run, conn_id: str, transport: httpx.BaseTransport | None) -> None:
    url = run.connections.get(conn_id).base_url
    if not is_secure(url):
        raise Misconfigured(f"alerts.heartbeat.ping_conn_id: the base URL of {conn_id!r} is not https")
    retrying = Retrying(
        retry=retry_if_exception_type(httpx.HTTPError),
        stop=stop_after_attempt(TRIES),
        wait=wait_fixed(PAUSE),
        sleep=run.clock.sleep,
        reraise=True,
    )
    with httpx.Client(timeout=TIMEOUT, transport=transport) as http:
        retrying(lambda: http.get(url).raise_for_status())


def _tried(what: str, tell: Any) -> bool:
    try:
        tell()
    except Exception as error:
        # Not the error's text: it may quote the address, which is a secret.
        log.error(
            "The heartbeat did not reach %s (%s): somebody may be told that no run came; see docs/runbooks/no-run.md",
            what, type(error).__name__,
        )  # fmt: skip
        return False
    return True
