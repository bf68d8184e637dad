"""One run: what it was asked to do, where its things lie, and what it reads and writes through.

A run is opened by every task anew. What it was asked (its options) is written once, with the first stage, and stands
from then on: a task cleared days later does what the run was started for, not what a form says today.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from catalog_sync.clock import Clock, SystemClock
from catalog_sync.connections import Connections
from catalog_sync.errors import BadInput, Misconfigured, shorten
from catalog_sync.settings import Settings

if TYPE_CHECKING:  # DAG files import this module, and boto3 alone takes half a second
    from catalog_sync.aws import Aws
    from catalog_sync.lake import Lake
    from catalog_sync.ledger import LedgerTable


class Kind(StrEnum):
    """Who started the run."""

    NIGHT = "night"
    BACKFILL = "backfill"
    ROLLBACK = "rollback"
    COMMAND = "command"
    COLLECT = "collect"


@dataclass(frozen=True)
class Options:
    """What a run was asked to do.

    ``stores``, ``skus``, ``skus_file`` (a file of SKUs), ``departments`` and ``changed_since`` (a time) narrow it,
    all of them together (empty means all; see ``scope``); ``resend`` also sends rows that Amazon already
    acknowledged as they are; ``accept_sources`` takes sources that have shrunk for right: later runs are measured
    by them; ``follow_up`` counts the automatic runs before this one that failed with FATAL or CANCELLED;
    ``release`` names the run whose held rows this one sends, a person having approved them; ``to``
    (``Kind.ROLLBACK`` only) says after which run, or at what time, Amazon's catalog was as it shall be again;
    ``by`` is the user who started it; ``origin`` is what a scheduler calls the run: ``<DAG>/<DAG run id>``, for
    links; ``asked_at`` is the time that the scheduler was asked to start it after; both are empty without one.
    """

    kind: Kind = Kind.NIGHT
    stores: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    skus_file: str = ""
    departments: tuple[str, ...] = ()
    changed_since: str = ""
    resend: bool = False
    accept_sources: bool = False
    dry_run: bool = False
    reason: str = ""
    follow_up: int = 0
    release: str = ""
    to: str = ""
    by: str = ""
    origin: str = ""
    asked_at: str = ""

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Options:
        """Return the options of their JSON form, which may lack what an earlier version did not know."""
        lists = {name: tuple(raw.get(name, ())) for name in ("stores", "skus", "departments")}
        return cls(**{**raw, **lists, "kind": Kind(raw["kind"])})

    @property
    def narrowed(self) -> bool:
        """Whether the run is about some rows only of the stores that it is about."""
        return bool(self.skus or self.skus_file or self.departments or self.changed_since)

    @property
    def whole(self) -> bool:
        """Whether the run is about the whole catalog."""
        return not (self.stores or self.narrowed or self.release)


def sources_of(kind: Kind, settings: Settings) -> tuple[str, ...]:
    """Return the names of what a run of that kind reads."""
    return ("acknowledged",) if kind is Kind.ROLLBACK else tuple(source.name for source in settings.sources)


def run_name(external_id: str) -> str:
    """Return the run's name in lake and ledger: ``external_id`` with unsafe characters replaced, and then told apart.

    Airflow's run ids hold ``:`` and ``+``, which object stores and folders take badly; a name that begins with a dot
    would be hidden, or another folder.
    """
    safe = re.sub(r"^\.|[^A-Za-z0-9._-]", "_", external_id)[:180]
    if safe == external_id:
        return safe
    return f"{safe}-{hashlib.sha256(external_id.encode()).hexdigest()[:6]}"


@dataclass
class Run:
    """One run of the sync. Open it with ``Run.open``."""

    settings: Settings
    connections: Connections
    run_id: str
    asked: Options
    clock: Clock
    lake: Lake
    ledger: LedgerTable
    aws: Aws
    #: Unique names for data files; tests pass their own.
    token: Callable[[], str] = field(default=lambda: uuid.uuid4().hex[:12])
    _manifest: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        settings: Settings,
        connections: Connections,
        run_id: str,
        options: Options | None = None,
        clock: Clock | None = None,
    ) -> Run:
        """Open the run called ``run_id`` (see ``run_name``) of the deployment that ``settings`` describe."""
        from catalog_sync.lake import Lake
        from catalog_sync.ledger import LedgerTable

        clock = clock or SystemClock()
        aws = connections.aws(settings.aws.conn_id, settings.aws.region)
        return cls(
            settings=settings,
            connections=connections,
            run_id=run_id,
            asked=options or Options(),
            clock=clock,
            lake=Lake.open(settings.lake, lambda: aws, settings.base),
            ledger=LedgerTable(aws.client("dynamodb"), settings.ledger.table),
            aws=aws,
        )

    def of(self, run_id: str) -> Run:
        """Return another run of the same deployment, to read what it left."""
        return Run(
            self.settings,
            self.connections,
            run_id,
            self.asked,
            self.clock,
            self.lake,
            self.ledger,
            self.aws,
            self.token,
        )

    @property
    def prefix(self) -> str:
        """The run's prefix in the lake."""
        return f"runs/{self.run_id}"

    def key(self, name: str) -> str:
        """Return the lake key of ``name`` in this run."""
        return f"{self.prefix}/{name}"

    @property
    def manifest(self) -> dict[str, Any]:
        """What the run was asked, when it began, and the plan number that stood then; written by whoever asks first."""
        from catalog_sync.lease import Lease

        # No cached_property: up to Python 3.11 it holds one lock for all runs of the process while it reads and writes.
        if self._manifest is None:
            made = self.lake.once(
                self.key("run.json"),
                lambda: {
                    "run_id": self.run_id,
                    "retailer": self.settings.retailer,
                    "options": asdict(self.asked),
                    "sources": list(sources_of(self.asked.kind, self.settings)),
                    "started_at": self.clock.time(),
                    "plan_number_before": Lease.of(self).read().token,
                },
            )
            self._manifest = dict(made)
        return self._manifest

    @property
    def options(self) -> Options:
        """What the run was started for (not what this task was given, should the two differ)."""
        return Options.of(self.manifest["options"])

    def require_own_name(self) -> None:
        """Raise when this name is another run's, which a scheduler was asked for at another time and has forgotten.

        :raises BadInput: what was asked now would be passed over, and the other run gone on with.
        """
        before, now = self.options.asked_at, self.asked.asked_at
        if before and now and before != now:
            raise BadInput(
                f"run id {self.asked.origin.rpartition('/')[2]!r}: a run of this id was started for {before}, and what "
                "it read and sent stands; start another run with a new id"
            )

    @cached_property
    def stores(self) -> tuple[str, ...]:
        """Every store of the retailer, as configured when the run began to read, or else now.

        :raises Misconfigured: the run was asked for a store that is not configured.
        """
        key = self.key("stores.json")
        return self._asked_of(self.lake.get_json(key)["stores"]) if self.lake.exists(key) else self._configured_stores()

    def _configured_stores(self) -> tuple[str, ...]:
        from catalog_sync.stores import load_stores

        return self._asked_of(load_stores(self.settings, self.connections))

    def _asked_of(self, stores: Iterable[str]) -> tuple[str, ...]:
        """Return the stores, among which must be those that the run was asked for."""
        unknown = sorted(set(self.options.stores).difference(stores))
        if unknown:
            raise Misconfigured(
                f"stores = {shorten(', '.join(unknown))}: not among the configured stores ({', '.join(stores)})"
            )
        return tuple(stores)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of what the run reads: the sources that were configured when it began, or what Amazon had then."""
        # A run of an earlier version has not written them down.
        return tuple(self.manifest.get("sources") or sources_of(self.options.kind, self.settings))

    def begin_to_read(self) -> None:
        """Keep the stores that are configured now for all that follows: half of a store's rows must not be elsewhere.

        A dry run does not make the lake its retailer's.

        :raises Misconfigured: the lake belongs to another retailer, or a store that was asked for is not configured.
        """
        key, mine = "deployment.json", {"retailer": self.settings.retailer, "ledger": self.settings.ledger.table}
        owner = mine
        if self.lake.exists(key) or not self.options.dry_run:
            owner = self.lake.once(key, lambda: mine)
        if owner != mine:
            raise Misconfigured(
                f"lake = {self.lake.uri}: belongs to retailer {owner['retailer']!r} with ledger {owner['ledger']!r}, "
                f"not {self.settings.retailer!r} with {self.settings.ledger.table!r}; give each a lake of its own. If "
                f"it is the same ledger, restored under another name, say so in {self.lake.url(key)}"
            )
        self.lake.once(self.key("stores.json"), lambda: {"stores": self._configured_stores()})

    def require_same_sources(self) -> None:
        """Make sure that the sources are those that were configured when the run began.

        :raises Misconfigured: they are not.
        """
        now = sources_of(self.options.kind, self.settings)
        if set(now) != set(self.sources):
            raise Misconfigured(
                f"sources = {', '.join(now)}: the run began with {', '.join(self.sources)}; start a new run"
            )

    @property
    def forgotten(self) -> bool:
        """Whether the run is so old that the ledger has forgotten what it wrote down of it (``ledger.keep``)."""
        age = self.clock.time() - float(self.manifest["started_at"])
        return age > self.settings.ledger.keep.total_seconds()

    @property
    def expires_at(self) -> int:
        """When what is written to the ledger now may go (Unix seconds, for DynamoDB's TTL)."""
        return int(self.clock.time() + self.settings.ledger.keep.total_seconds())

    @property
    def plan(self) -> dict[str, Any]:
        """The run's plan as it stands (see ``slices``); ``BadInput`` when it has none (yet)."""
        from catalog_sync.slices import with_slices

        return with_slices(self, dict(self.lake.get_json(self.key("plan.json"))))
