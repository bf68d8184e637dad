"""What is Amazon's: the API's address, its clock, our credentials there, our permission, and the subscription."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from catalog_sync import journal
from catalog_sync.alarms import Alarms
from catalog_sync.api.client import CatalogApi, account_of
from catalog_sync.api.outcomes import Verdict
from catalog_sync.attempts import Attempt, State
from catalog_sync.breaker import Breaker
from catalog_sync.clock import iso
from catalog_sync.doubt import attempts_of
from catalog_sync.errors import shorten
from catalog_sync.probe import Check, Look, Status
from catalog_sync.tickets import Tickets

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Seconds that our clock may differ. AWS refuses signatures that are more than 5 minutes off (IAM User Guide,
#: "Troubleshoot Signature Version 4 requests"); tickets need hosts that agree far better.
CLOCK_WARN, CLOCK_FAIL = 5.0, 240.0
#: The id of an upload that never was; Amazon answers 400 for an id that it does not know.
NOBODYS = "00000000-0000-4000-8000-000000000000"
#: So many runs are looked through for the last upload that had a result.
_RUNS = 20


def look_at_address(run: Run) -> Check:
    """Reach the API without credentials: any answer will do. Compare its clock with ours."""
    name = "address"
    connection = run.connections.get(run.settings.api.conn_id)
    tickets(run).take("probe")
    try:
        began = run.clock.time()
        with httpx.Client(timeout=run.settings.api.timeout.total_seconds()) as client:
            answer = client.get(connection.base_url)
    except httpx.HTTPError as error:
        advice = f"Mend host of the connection {run.settings.api.conn_id}, DNS, the proxy or the firewall."
        return Check(name, Status.FAIL, f"{httpx.URL(connection.base_url).host}: {type(error).__name__}", advice)
    seen = f"{httpx.URL(connection.base_url).host} answers (HTTP {answer.status_code})"
    # The header has whole seconds, cut off; ours is taken in the middle of the exchange.
    theirs, ours = answer.headers.get("date"), (began + run.clock.time()) / 2
    try:
        offset = ours - parsedate_to_datetime(theirs or "").timestamp() - 0.5
    except ValueError:
        return Check(name, Status.WARN, f"{seen}, without its time", "Compare this host's clock by other means (NTP).")
    seen += f"; our clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) < CLOCK_WARN:
        return Check(name, Status.OK, seen)
    status = Status.FAIL if abs(offset) > CLOCK_FAIL else Status.WARN
    return Check(name, status, seen, "Set this host's clock (NTP): Amazon refuses signatures that are 5 minutes off.")


def look_at_credentials(run: Run) -> Check:
    """Ask STS who we are when we call the API, the role being assumed."""
    connection = run.connections.get(run.settings.api.conn_id)
    caller = account_of(run.settings, run.connections, connection).client("sts").get_caller_identity()
    return Check("credentials", Status.OK, f"we are {shorten(caller['Arn'], 200)}")


def look_at_permission(run: Run) -> Check:
    """Ask for the status of an upload that never was: 400 when we may call the API, 403 when we may not."""
    name = "permission"
    with CatalogApi.from_connection(run.settings, run.connections, run.clock, tickets(run), Breaker.of(run)) as api:
        answer = api.status(NOBODYS)
    if answer.verdict is Verdict.UNKNOWN_INGESTION:
        return Check(name, Status.OK, "a signed status call for an upload that never was is answered 400, as it should")
    seen = f"{answer.verdict} (HTTP {answer.http_status or '–'}): {shorten(answer.message, 200)}"
    advice = {
        Verdict.FORBIDDEN: "Look at the role, its permission, allowlisting at Amazon, extra.region_name and the clock.",
        Verdict.BREAKER_OPEN: "The API has kept failing: see when it may be tried again, and look at the last runs.",
        Verdict.ACCEPTED: "Amazon knows an id that nobody has: is the host really the Catalog API?",
    }
    return Check(name, Status.FAIL, seen, advice.get(answer.verdict, "Try again; when it stays, ask Amazon."))


def look_at_subscription(run: Run) -> Check:
    """Tell whether Amazon's topic delivers to our queue, as far as it can be known: the topic is Amazon's."""
    name = "subscription"
    if (since := Alarms.of(run).since()) is not None:
        advice = "Subscribe the queue anew: docs/runbooks/unsubscribed.md."
        return Check(name, Status.FAIL, f"the topic has unsubscribed our queue at {iso(since)}", advice)
    attempts = _last_done(run)
    if not attempts:
        advice = "The first upload will show it; a canary does so now (probe.canary)."
        return Check(name, Status.WARN, "no upload had a result yet, so nothing tells", advice)
    noticed = [one for one in attempts if had_notice(run, one)]
    last = iso(max(float(one.item["ended_at"]) for one in attempts))
    seen = f"notices came for {len(noticed)} of {len(attempts)} uploads of the last run with results, until {last}"
    if noticed:
        return Check(name, Status.OK, seen)
    return Check(name, Status.FAIL, seen, "Results come by polling only: docs/runbooks/lost-subscription.md.")


def tickets(run: Run) -> Tickets:
    """Return the tickets that every request takes."""
    return Tickets(run.ledger.client, run.settings.ledger.table, run.clock, run.settings.api.rate)


def _last_done(run: Run) -> list[Attempt]:
    """Return the uploads that ended DONE of the newest run that has any."""
    for record in journal.newest(run, _RUNS):
        done = [one for one in attempts_of(run).of_run(str(record["run_id"])) if one.end is State.DONE]
        if done:
            return done
    return []


def had_notice(run: Run, attempt: Attempt) -> bool:
    """Tell whether a notice came for the upload, be it after the status API had told."""
    told: Mapping[str, Any] = attempt.item
    if told.get("reported_by") == "notice":
        return True
    return run.ledger.get(f"INGESTION#{attempt.ingestion_id}", "NOTICE") is not None


LOOKS: dict[str, Look] = {
    "address": look_at_address,
    "credentials": look_at_credentials,
    "permission": look_at_permission,
    "subscription": look_at_subscription,
}
