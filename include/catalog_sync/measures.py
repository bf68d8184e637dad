"""Every metric that is sent. ``docs/monitoring.md`` lists them; the dashboard and the alert rules use them.

Labels are few and their values bounded: a store or a SKU is none, since 100 stores × 16 columns would be more series
than all the rest. The Catalog page and ``books`` tell of stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from catalog_sync.api.outcomes import Verdict
from catalog_sync.books import ARCHIVES as ARCHIVE_COLUMNS
from catalog_sync.books import COLUMNS
from catalog_sync.contract.codes import Code
from catalog_sync.metrics import Counter, Gauge, Metric, Timer
from catalog_sync.notices import Why
from catalog_sync.run import Kind, Run


def _lower(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(value).lower() for value in values)


_OPERATION = {"operation": ("upload", "archive", "status")}
_KIND = {"kind": _lower(Kind)}
_RESULTS = _lower(verdict for verdict in Verdict if verdict is not Verdict.BREAKER_OPEN)
_AGAIN = _lower((Verdict.RETRY_LATER, Verdict.NOT_SENT, Verdict.BREAKER_OPEN, Verdict.AMBIGUOUS))
_STATES = ("complete", "incomplete", "unbalanced")
_STAGES = ("extract", "shards", "prepare", "plan", "upload", "archive_reports", "settle", "account")

# --- requests to Amazon

REQUESTS = Counter("requests", "requests to Amazon, by what came of them", {**_OPERATION, "result": _RESULTS})
LATENCY = Timer("request_latency", "from the start of a request to its whole answer", _OPERATION)
TICKET_WAIT = Timer("ticket_wait", "how long a request waited for leave under the limit", _OPERATION)
REQUEST_LIMIT = Gauge("request_limit", "requests a second that are allowed in all (`api.rate`)")
THROTTLED = Counter("throttled", "answers 429, which the tickets should never let happen", _OPERATION)
RETRIES = Counter("retries", "requests that repeat one, by why", {**_OPERATION, "reason": _AGAIN})
BREAKER = Counter("breaker", "what the circuit breaker did", {"event": ("opened", "reopened", "closed", "held_back")})
BREAKER_OPEN = Gauge("breaker_open", "1 while the circuit breaker is open, else 0")

# --- results

UPLOADS_ENDED = Counter(
    "uploads_ended",
    "uploads whose end became known, by how Amazon ended them and who said so first",
    {"state": ("done", "cancelled", "fatal"), "by": ("notice", "status", "early_notice")},
)
GIVEN_UP = Counter("uploads_given_up", "uploads that had no result in time; their rows are unknown")
RESULT_DELAY = Timer(
    "result_delay",
    "from sending an upload to knowing its end, by who said so first",
    {"by": ("notice", "status", "early_notice")},
)
NOTICE_DELAY = Timer("notice_delay", "from Amazon's topic (when SNS sent the notice) to our ledger")
NOTICES = Counter("notices", "notices that were recorded", {"what": ("known", "early", "unsubscribed")})
DEAD_LETTERS = Counter("dead_letters", "messages that were given up on, by why", {"why": _lower(Why)})
QUEUE = Gauge("queue_messages", "messages that wait, by SQS's own rough count", {"queue": ("results", "dead_letters")})
UPLOADS_OPEN = Gauge("uploads_open", "uploads of the run, or of all runs for a drain, whose result is awaited")
UPLOADS_LATE = Gauge("uploads_late", "those of them that wait longer than `results.expect`")
UPLOADS_AGE = Gauge("uploads_oldest_seconds", "how long the oldest of them has waited")
REPORTS = Counter("reports", "reports that were to be archived", {"result": ("archived", "failed")})

# --- runs and rows

ROWS = Counter("rows", "rows, by column of the books; without dry runs", {"outcome": COLUMNS})
ARCHIVES = Counter("archives", "SKUs to archive, by column of their books", {"outcome": ARCHIVE_COLUMNS})
REJECTS = Counter("rejects", "broken rules of rejected rows, by rule", {"code": _lower(Code)})
RUNS = Counter("runs", "runs that ended, by how their books stood first", {**_KIND, "state": _STATES})
BOOKS = Gauge("last_run_rows", "the books of the last run of each kind", {**_KIND, "outcome": COLUMNS})
RUN_SECONDS = Gauge("last_run_seconds", "from the beginning of the last run of each kind to its books", _KIND)
RUN_ENDED = Gauge("last_run_ended", "when the last run of each kind ended so (Unix time)", {**_KIND, "state": _STATES})
RUN_PROBLEMS = Gauge("last_run_problems", "problems that the books of the last run name", _KIND)
RUN_ALARMS = Gauge("last_run_alarms", "alarms that the books of the last run name", _KIND)
HELD_AGE = Gauge("held_oldest_seconds", "for how long the oldest held row has been held; 0 when none is")
CHANGE_AGE = Gauge(
    "change_to_acknowledged_seconds",
    "from a source's last change to the end of the last upload that carried it, where the source can tell",
    {"source": ()},
)
MESSAGES = Counter("messages", "messages to people, by whether a channel took them", {"result": ("sent", "failed")})
LEASE_WAIT = Timer("lease_wait", "how long a plan waited for another run to stop sending")
STAGE = Timer("stage", "how long a stage took, once for each task", {"stage": _STAGES})

#: All of them.
ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


P = ParamSpec("P")
T = TypeVar("T")


def stage(name: str) -> Callable[[Callable[Concatenate[Run, P], T]], Callable[Concatenate[Run, P], T]]:
    """Return a decorator of a stage: each call says how long it took, also when it fails."""

    def around(work: Callable[Concatenate[Run, P], T]) -> Callable[Concatenate[Run, P], T]:
        @wraps(work)
        def timed(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> T:
            with STAGE.timed(run.clock, stage=name):
                return work(run, *args, **kwargs)

        return timed

    return around
