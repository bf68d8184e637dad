"""The canary: one item of a store set aside for it, sent the whole way as a backfill of that one SKU.

It goes through the ordinary path: read from the sources, held to the contract, sent again although Amazon has it,
settled from Amazon's report, booked. So it needs a row in a source, and it disturbs nothing: its books balance, its
row stands in the acknowledged catalog like any other, and one that is sent as it was changes nothing there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from catalog_sync.attempts import State
from catalog_sync.clock import utc
from catalog_sync.doubt import attempts_of
from catalog_sync.errors import RetryLater
from catalog_sync.probe import Check, Status
from catalog_sync.probe.amazon import had_notice
from catalog_sync.run import Kind, Options, run_name

if TYPE_CHECKING:
    from catalog_sync.run import Run
    from catalog_sync.settings import Settings

_NAME = "canary"


def send_canary(run: Run) -> Check:
    """Send the canary and wait for its report, at most ``probe.canary.within``."""
    canary = run.settings.probe.canary
    if canary is None:
        advice = "Give probe.canary a store and a SKU that is in a source."
        return Check(_NAME, Status.FAIL, "none is configured", advice)
    sent = _run_of(run, canary.store, canary.sku, canary.within)
    from catalog_sync.sync import sync

    try:
        books = sync(sent)
    except RetryLater as busy:
        return Check(_NAME, Status.WARN, f"not sent: {busy}", "Another run is sending. Try again when it is done.")
    total, took = books["total"], run.clock.time() - books["started_at"]
    what = f"{canary.sku} in {canary.store} (run {sent.run_id})"
    if total["acknowledged"] == 1 and books["state"] == "complete":
        done = [one for one in attempts_of(sent).of_run(sent.run_id) if one.end is State.DONE]
        noticed = any(had_notice(sent, one) for one in done)
        way = "a notice told of it" if noticed else "the status API told of it, no notice did"
        seen = f"{what}: acknowledged after {took:.0f} s; {way}"
        advice = "" if noticed else "See docs/runbooks/lost-subscription.md."
        return Check(_NAME, Status.OK if noticed else Status.WARN, seen, advice)
    counts = ((column, rows) for column, rows in total.items() if rows and column not in ("read", "out_of_scope"))
    told = ", ".join(f"{rows} {column}" for column, rows in counts)
    advice = "Is the SKU in a source? python -m catalog_sync why tells its story; the run's books say what is missing."
    return Check(_NAME, Status.FAIL, f"{what}: {books['state']}: {told or 'it is in no source'}", advice)


def _run_of(run: Run, store: str, sku: str, within: timedelta) -> Run:
    """Return a new run for the one item that gives up waiting after ``within``; a later report still counts."""
    options = Options(
        kind=Kind.COMMAND, stores=(store,), skus=(sku,), resend=True, reason="canary of the probe", by=run.asked.by
    )
    made = run.of(run_name(f"canary__{utc(run.clock.time()):%Y-%m-%dT%H-%M-%S}-{run.token()[:4]}"))
    made.asked, made.settings = options, _patient(run.settings, within)
    return made


def _patient(settings: Settings, within: timedelta) -> Settings:
    results = settings.results
    shorter = {"give_up_after": min(within, results.give_up_after), "poll_after": min(within, results.poll_after)}
    return settings.model_copy(update={"results": results.model_copy(update=shorter)})
