"""The ledger: one writer, attempts recorded before they are sent, states that only move forward."""

from __future__ import annotations

from typing import Any

import pytest

from catalog_sync.api.outcomes import Answer, Verdict
from catalog_sync.attempts import AttemptKey, Attempts, State
from catalog_sync.errors import Misconfigured, RetryLater, Superseded
from catalog_sync.lease import LEASE_SECONDS, Holder, Lease
from catalog_sync.ledger import LedgerTable

NOW = 1_790_000_000.0
ANSWER = Answer(Verdict.REJECTED, latency=0.25, http_status=400, message="no")


@pytest.fixture
def attempts(dynamodb: Any) -> Attempts:
    """The attempts of acme, whose run r1 holds plan 1."""
    made = Attempts(LedgerTable(dynamodb, "Ledger"), "acme", keep=1000.0)
    assert made.lease.take("r1", NOW) == 1
    return made


def begun(attempts: Attempts, number: int = 1, run: str = "r1", plan: int = 1) -> Any:
    """An attempt for the first ten rows of batch 1."""
    return attempts.begin(AttemptKey(run, 1, number), 0, 10, plan, NOW)


def state(attempts: Attempts, number: int = 1) -> State:
    """The attempt's state as the ledger has it."""
    found = attempts.get(AttemptKey("r1", 1, number))
    assert found
    return found.state


def test_a_missing_table_is_named_with_what_to_do(dynamodb: Any) -> None:
    """A ledger table that does not exist is a configuration error."""
    with pytest.raises(Misconfigured, match=r"'Nowhere'.*catalog-sync\.yaml"):
        LedgerTable(dynamodb, "Nowhere").get("a", "b")


def test_the_lease_goes_to_one_run_at_a_time(attempts: Attempts) -> None:
    """A second run is told who sends and for how long to wait; the owner itself may take the next number."""
    with pytest.raises(RetryLater, match="run r1 is sending") as busy:
        attempts.lease.take("r2", NOW + 1)
    assert busy.value.after == 30.0
    assert attempts.lease.take("r1", NOW + 1) == 2


def test_a_lease_given_up_or_expired_goes_to_the_next_run_with_a_higher_number(attempts: Attempts) -> None:
    """Plan numbers only grow, and a release by a stale owner releases nothing."""
    attempts.lease.release(1, "r1")
    assert attempts.lease.take("r2", NOW) == 2
    assert not attempts.lease.release(1, "r1")
    assert attempts.lease.take("r3", NOW + LEASE_SECONDS + 1) == 3
    assert attempts.lease.read() == Holder(3, "r3", NOW + 2 * LEASE_SECONDS + 1, since=3)


def test_an_attempt_of_an_older_plan_is_never_recorded(attempts: Attempts) -> None:
    """I4: whoever holds an old plan number sends nothing, and is told by which run it was superseded."""
    attempts.lease.release(1, "r1")
    attempts.lease.take("r2", NOW)
    with pytest.raises(Superseded, match="run r2 has made plan 2"):
        begun(attempts)
    assert list(attempts.open()) == []


def test_an_attempt_renews_the_lease_even_after_it_was_given_up(attempts: Attempts) -> None:
    """A task cleared after the end may still send while nobody has planned since; it then holds the lease again."""
    attempts.lease.release(1, "r1")
    begun(attempts)
    assert attempts.lease.read().held_until == NOW + LEASE_SECONDS


def test_a_plan_from_before_another_run_came_between_is_never_sent(attempts: Attempts) -> None:
    """I4: r1 took 1, lost the lease to r2, and took 3; a process of r1 thought dead then leaves plan 1 as r1's plan."""
    assert attempts.lease.take("r2", NOW + LEASE_SECONDS + 1) == 2
    assert attempts.lease.take("r1", NOW + 2 * LEASE_SECONDS + 2) == 3
    with pytest.raises(Superseded):
        begun(attempts, plan=1)
    assert not attempts.lease.release(1, "r1")
    assert begun(attempts, plan=3).plan_number == 3


def test_a_run_that_took_two_numbers_still_sends_its_one_plan(attempts: Attempts) -> None:
    """A plan task that was thought dead may have left the plan that stands, under the lower number of the two."""
    assert attempts.lease.take("r1", NOW) == 2
    begun(attempts, plan=1)
    attempts.lease.release(1, "r1")
    assert attempts.lease.take("r2", NOW) == 3


def test_a_halted_run_sends_nothing_until_the_halt_ends(attempts: Attempts) -> None:
    """After a 403 every other task of the run stops at its next request."""
    attempts.halt("r1", "the role lacks execute-api:Invoke", NOW + 60)
    with pytest.raises(Superseded, match="halted: the role lacks"):
        begun(attempts)
    attempts.begin(AttemptKey("r1", 1, 1), 0, 10, 1, NOW + 61)


def test_two_processes_cannot_begin_the_same_attempt(attempts: Attempts) -> None:
    """The second one is told so and sends nothing."""
    begun(attempts)
    with pytest.raises(RetryLater, match="begun by another process"):
        begun(attempts)


def test_of_two_runs_that_settle_at_once_one_does_it_and_books_it(attempts: Attempts) -> None:
    """I6: a late outcome is in the books of one run, and how the attempt ended is not overwritten."""
    attempt = begun(attempts)
    attempts.accepted(attempt, "ing-1", NOW + 1, 0.5)
    attempts.record_notice("ing-1", State.DONE, "https://link", NOW + 2)
    [as_night_read_it] = attempts.open()
    [as_hourly_read_it] = attempts.open()
    counts = {"A": {"acknowledged": 10}}
    assert attempts.settle(as_night_read_it, "night", NOW + 3, counts)
    assert not attempts.settle(as_hourly_read_it, "hourly", NOW + 4, counts)
    booked = [list(attempts.ledger.query(f"RUN#{run}", "LATE#")) for run in ("night", "hourly")]
    assert [len(items) for items in booked] == [1, 0]
    ended = attempts.get(attempt.key)
    assert ended
    assert (ended.end, ended.item["settled_in"]) == (State.DONE, "night")


def test_no_link_outlives_its_attempt(attempts: Attempts) -> None:
    """I8: a notice after the report was archived, an end without a report, or an id that nobody knows leave no link."""
    polled, fatal = begun(attempts, 1), begun(attempts, 2)
    attempts.accepted(polled, "ing-1", NOW + 1, 0.5)
    attempts.report("ing-1", State.DONE, "https://polled?secret", NOW + 2, "status")
    attempts.archived(polled, "runs/r1/reports/ing-1", NOW + 3)
    attempts.record_notice("ing-1", State.DONE, "https://notice?secret", NOW + 4)
    attempts.accepted(fatal, "ing-2", NOW + 1, 0.5)
    attempts.record_notice("ing-2", State.FATAL, "https://fatal?secret", NOW + 4)
    attempts.record_notice("ing-3", State.DONE, "https://lost?secret", NOW + 4)
    for attempt in list(attempts.open()):
        attempts.settle(attempt, "r1", NOW + 5)
    kept = [
        dict(item)
        for pk in ("INGESTION#ing-1", "INGESTION#ing-2", "INGESTION#ing-3", "RUN#r1")
        for item in attempts.ledger.query(pk)
    ]
    assert "secret" not in str(kept)


def test_a_full_life(attempts: Attempts) -> None:
    """SENDING, ACCEPTED, INPROGRESS, DONE with its link, archived, settled: open until then, gone after."""
    attempt = begun(attempts)
    attempts.accepted(attempt, "ing-1", NOW + 1, 0.5)
    assert attempts.record_notice("ing-1", State.INPROGRESS, "", NOW + 2)
    assert attempts.record_notice("ing-1", State.DONE, "https://link", NOW + 3)
    [done] = attempts.open()
    assert (done.state, done.link, done.ingestion_id, done.item["latency_ms"]) == (
        State.DONE,
        "https://link",
        "ing-1",
        500,
    )
    attempts.archived(done, "runs/r1/reports/ing-1.json.zst", NOW + 4)
    [done] = attempts.open()
    assert (done.link, done.report_key) == ("", "runs/r1/reports/ing-1.json.zst")
    attempts.settle(done, "r1", NOW + 5)
    assert list(attempts.open()) == []
    assert state(attempts) is State.SETTLED
    settled = attempts.get(done.key)
    assert settled is not None
    assert (settled.item["ended_as"], settled.item["expires_at"]) == ("DONE", int(NOW + 1005))


def test_the_link_is_forgotten_once_the_report_is_archived(attempts: Attempts) -> None:
    """I8: a presigned link lives in the ledger only as long as it is needed."""
    attempt = begun(attempts)
    attempts.accepted(attempt, "ing-1", NOW, 0)
    attempts.record_notice("ing-1", State.DONE, "https://secret", NOW)
    [done] = attempts.open()
    attempts.archived(done, "key", NOW)
    attempts.report("ing-1", State.DONE, "https://secret", NOW, "status")
    everything = attempts.ledger.client.scan(TableName="Ledger")["Items"]
    assert "https://secret" not in str(everything)


@pytest.mark.parametrize("late", [State.INQUEUE, State.INPROGRESS, State.FATAL])
def test_a_state_never_moves_back(attempts: Attempts, late: State) -> None:
    """A late or repeated notice changes nothing once the upload is done."""
    attempts.accepted(begun(attempts), "ing-1", NOW, 0)
    attempts.record_notice("ing-1", State.DONE, "l", NOW)
    attempts.record_notice("ing-1", late, "", NOW)
    assert state(attempts) is State.DONE


def test_a_notice_that_comes_before_our_own_write_is_joined_later(attempts: Attempts) -> None:
    """The state is durable at once, and applied when the ingestion id becomes known; the link is not kept."""
    attempt = begun(attempts)
    assert not attempts.record_notice("ing-1", State.DONE, "link", NOW)
    assert state(attempts) is State.SENDING
    attempts.accepted(attempt, "ing-1", NOW, 0)
    [done] = attempts.open()
    assert (done.state, done.link) == (State.DONE, "")


def test_done_after_giving_up_is_legal(attempts: Attempts) -> None:
    """UNKNOWN is no end: a late report still counts."""
    attempt = begun(attempts)
    attempts.accepted(attempt, "ing-1", NOW, 0)
    attempts.give_up(attempt, NOW)
    assert state(attempts) is State.UNKNOWN
    attempts.record_notice("ing-1", State.DONE, "link", NOW)
    assert state(attempts) is State.DONE


def test_an_answer_that_comes_after_giving_up_still_counts(attempts: Attempts) -> None:
    """The process hung between sending and recording: the upload is followed as any other."""
    attempt = begun(attempts)
    attempts.give_up(attempt, NOW + 5)
    attempts.accepted(attempt, "ing-1", NOW + 9, 9.0)
    assert state(attempts) is State.ACCEPTED
    assert attempts.report("ing-1", State.DONE, "link", NOW + 10, "notice")


def test_an_answer_that_comes_after_settling_says_what_becomes_of_its_rows(attempts: Attempts) -> None:
    """Beyond the horizon the rows are sent again, and the late process is told so."""
    attempt = begun(attempts)
    attempts.settle(attempt, "r2", NOW + 90_000)
    with pytest.raises(Superseded, match=r"accepted as 'ing-1' after it had been settled as unknown"):
        attempts.accepted(attempt, "ing-1", NOW + 90_001, 9.0)
    assert state(attempts) is State.SETTLED


def test_giving_up_does_not_undo_an_end(attempts: Attempts) -> None:
    """An attempt that was archived meanwhile stays done."""
    attempt = begun(attempts)
    attempts.accepted(attempt, "ing-1", NOW, 0)
    attempts.record_notice("ing-1", State.DONE, "link", NOW)
    [done] = attempts.open()
    attempts.archived(done, "key", NOW)
    attempts.give_up(attempt, NOW)
    assert state(attempts) is State.DONE


@pytest.mark.parametrize(
    ("end", "in_doubt"), [(State.REJECTED, False), (State.REFUSED, False), (State.FAILED, False), (None, True)]
)
def test_only_what_amazon_may_have_taken_is_in_doubt(attempts: Attempts, end: State | None, in_doubt: bool) -> None:
    """An answered no is certain; an answer that tells nothing leaves the attempt SENDING and in doubt."""
    attempt = begun(attempts)
    if end:
        attempts.ended(attempt, end, NOW, ANSWER)
    else:
        attempts.doubtful(attempt, ANSWER)
    [found] = attempts.open()
    assert found.in_doubt is in_doubt
    assert found.item["message"] == "no"


def test_open_attempts_of_other_retailers_are_not_ours(attempts: Attempts, dynamodb: Any) -> None:
    """Two retailers may share a table."""
    begun(attempts)
    assert list(Attempts(LedgerTable(dynamodb, "Ledger"), "globex", 1.0).open()) == []
    assert Lease(attempts.ledger, "globex").take("g1", NOW) == 1
