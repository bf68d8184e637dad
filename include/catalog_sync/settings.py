"""One YAML file says what a deployment is; this module reads it into one frozen, validated object.

Secrets are never in the file: they are connections (see ``connections``). A mistake is a ``Misconfigured`` error that
names the file, the key, the value and the rule.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from catalog_sync.alerts.settings import AlertSettings
from catalog_sync.durations import Duration
from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.fields import TARGETS
from catalog_sync.notify_settings import Notify
from catalog_sync.probe_settings import ProbeSettings
from catalog_sync.settings_parts import Frozen, Limit

#: Where the configuration lies unless ``CATALOG_CONFIG`` names another file.
DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "config" / "catalog.yaml"


class Stores(Frozen):
    """Where the list of stores comes from: a CSV with a ``store_id`` column, a query, or the ids themselves."""

    file: str | None = None
    ids: tuple[str, ...] = ()
    conn_id: str | None = None
    query: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Stores:
        ways = [bool(self.file), bool(self.ids), bool(self.conn_id and self.query)]
        if sum(ways) != 1:
            raise ValueError("give exactly one of: file, ids, or conn_id with query")
        return self


class Ledger(Frozen):
    """The DynamoDB table that holds batches, attempts, the lease and the rate tickets."""

    table: str = "CatalogUploads"
    keep: Duration = timedelta(days=400)


class Results(Frozen):
    """How results are awaited. Durations are real time."""

    queue: str
    topic_arn: str
    expect: Duration = timedelta(minutes=10)
    poll_after: Duration = timedelta(minutes=15)
    give_up_after: Duration = timedelta(hours=4)
    horizon: Duration = timedelta(hours=24)
    #: A round of collecting ends when the oldest waiting report link is this old (links die after 60 minutes) …
    archive_after: Duration = timedelta(minutes=10)
    #: … or when this many reports wait.
    archive_batch: int = Field(default=50, ge=1)
    #: The time between two status polls of one upload, doubled each time up to ``poll_after`` (U31).
    poll_every: Duration = timedelta(seconds=30)
    #: SQS long polling; AWS allows at most 20 s.
    wait: Duration = timedelta(seconds=10)
    #: Only signed notices are believed. ``false`` is for a subscription with raw delivery, which has no signatures.
    signed: bool = True
    #: Where SNS signing certificates may be fetched from; ``{region}`` is filled in. The sandbox overrides it.
    certificate_hosts: tuple[str, ...] = ("sns.{region}.amazonaws.com",)

    @model_validator(mode="after")
    def _in_order(self) -> Results:
        if not self.poll_after <= self.give_up_after <= self.horizon:
            raise ValueError("poll_after <= give_up_after <= horizon must hold")
        if self.wait > timedelta(seconds=20):
            raise ValueError("wait: SQS long polling allows at most 20s")
        return self


class BreakerSettings(Frozen):
    """When nobody calls Amazon: after so many failures in a row, for ``pause``, doubled at each probe that fails."""

    failures: int = Field(default=5, ge=1)
    pause: Duration = timedelta(seconds=60)
    longest_pause: Duration = timedelta(minutes=10)

    @model_validator(mode="after")
    def _in_order(self) -> BreakerSettings:
        if not timedelta(seconds=1) <= self.pause <= self.longest_pause:
            raise ValueError("1s <= pause <= longest_pause must hold")
        return self


class Api(Frozen):
    """Amazon's Catalog API. Limits: 10 requests/s, 10,000 items (``catalog_validations``); bytes are our bound."""

    conn_id: str = "catalog_api"
    pool: str = "catalog_api"
    rate: int = Field(default=10, ge=1, le=10)
    max_items: int = Field(default=10_000, ge=1, le=10_000)
    max_bytes: int = Field(default=9_000_000, ge=10_000, le=10_000_000)
    max_upload_tasks: int = Field(default=500, ge=1)
    timeout: Duration = timedelta(seconds=60)
    breaker: BreakerSettings = BreakerSettings()


class StoreLimits(Frozen):
    """What may change at once in one store."""

    changed: Limit = Limit(percent=25, min_rows=50)
    new: Limit = Limit(percent=50, min_rows=100)
    prices: Limit = Limit(percent=10, min_rows=20)
    rejected: Limit = Limit(percent=20, min_rows=50)
    archived: Limit = Limit(percent=5, min_rows=20)


class TotalLimits(Frozen):
    """What may change at once in all stores together."""

    changed: Limit = Limit(percent=15, min_rows=200)
    new: Limit = Limit(percent=30, min_rows=500)
    prices: Limit = Limit(percent=5, min_rows=100)
    rejected: Limit = Limit(percent=10, min_rows=200)
    archived: Limit = Limit(percent=2, min_rows=50)


class Guards(Frozen):
    """When a plan changes too much at once: that part of it is held.

    ``price_move``: the percentage beyond which a price counts as moved, up or down; ``source``: by how much a source
    may shrink.
    """

    store: StoreLimits = StoreLimits()
    total: TotalLimits = TotalLimits()
    price_move: float = Field(default=50, gt=0)
    source: Limit = Limit(percent=20, min_rows=100)


class Archive(Frozen):
    """When a SKU that has left every store is archived: after so many complete runs, each ``apart`` from the last one.

    ``apart`` keeps a run that is repeated on the same day, from the same exports, from counting twice.
    """

    after: int = Field(default=3, ge=1)
    apart: Duration = timedelta(hours=12)


class Rollback(Frozen):
    """How far back a rollback may go; the history of the tables is kept for 400 days."""

    within: Duration = timedelta(days=90)

    @field_validator("within")
    @classmethod
    def _kept(cls, value: timedelta) -> timedelta:
        if not timedelta() < value <= timedelta(days=400):
            raise ValueError("within: more than nothing, and at most 400d, for which history is kept")
        return value


class Schedule(Frozen):
    """When the nightly sync runs, in the retailer's own time zone."""

    at: str = "02:30"
    timezone: str = "UTC"

    @field_validator("at")
    @classmethod
    def _clock_time(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("at: a time of day as HH:MM, 00:00 to 23:59")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("timezone: an IANA name such as America/Los_Angeles") from error
        return value

    @property
    def cron(self) -> str:
        """The schedule as a cron expression, to be read in ``timezone``."""
        hour, minute = self.at.split(":")
        return f"{int(minute)} {int(hour)} * * *"


class Expression(Frozen):
    """A mapping target computed by a SQL expression over the source's columns."""

    expression: str


Mapping = dict[str, str | Expression]


def _known_targets(mapping: Mapping) -> Mapping:
    unknown = sorted(set(mapping) - set(TARGETS))
    if unknown:
        raise ValueError(f"unknown target(s) {', '.join(unknown)}; known: {', '.join(TARGETS)}")
    return mapping


class _Source(Frozen):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    #: A source older than this is stale.
    fresh_within: Duration | None = None
    #: Overrides the mapping of the whole file, target by target.
    mapping: Annotated[Mapping, BeforeValidator(lambda v: v)] = Field(default_factory=dict)
    #: ``module:function`` that takes and returns a pandas DataFrame of mapped rows.
    transform: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")

    _targets = field_validator("mapping")(_known_targets)


class SqlSourceSettings(_Source):
    """Rows of a query on an Airflow SQL connection. ``query`` is SQL, or a path that ends in .sql."""

    kind: Literal["sql"]
    conn_id: str
    query: str
    chunk_rows: int = Field(default=50_000, ge=1)


class FileSourceSettings(_Source):
    """Rows of files: local, ``s3://`` or any fsspec path; globs and .gz are allowed."""

    kind: Literal["file"]
    path: str
    format: Literal["csv", "tsv", "jsonl", "parquet", "xlsx"]
    encoding: str = "utf-8"
    delimiter: str | None = Field(default=None, pattern=r'^[^"\r\n]$')
    sheet: str | None = None
    conn_id: str | None = None


class HttpSourceSettings(_Source):
    """Rows of a paged JSON API: the base URL, user and password or ``Authorization`` come from the connection."""

    kind: Literal["http"]
    conn_id: str
    endpoint: str
    #: Dotted path to the list of rows in a page; empty when the page is the list.
    rows: str = ""
    #: Dotted path to the next page's URL or token in a page; absent or null ends the reading.
    next: str | None = None
    #: The query parameter that carries the token; without it ``next`` is a URL (relative or absolute, same host).
    next_param: str | None = None
    params: dict[str, str] = Field(default_factory=dict)
    max_pages: int = Field(default=150_000, ge=1)


class PythonSourceSettings(_Source):
    """Rows of a class of one's own: ``reader`` is ``module:Class``, a subclass of ``sources.base.Source``."""

    kind: Literal["python"]
    reader: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    conn_id: str | None = None
    #: Whatever the class needs besides.
    options: dict[str, Any] = Field(default_factory=dict)


SourceSettings = SqlSourceSettings | FileSourceSettings | HttpSourceSettings | PythonSourceSettings


class MergeSettings(Frozen):
    """Which source wins a field that several give: ``precedence`` for all, ``fields`` for single ones. First wins."""

    precedence: tuple[str, ...] = ()
    fields: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class OnViolation(StrEnum):
    """What happens to a row that breaks a rule."""

    REPAIR = "repair"
    REJECT = "reject"
    WARN = "warn"


class Rule(Frozen):
    """Settings of one contract rule; unset means the rule's default."""

    on_violation: OnViolation | None = None
    max: int | None = Field(default=None, ge=1)
    #: ``SKU_FORMAT`` only: the regular expression a SKU must match in full.
    pattern: str | None = None
    #: ``BARCODE_TYPE`` only: what 8 digits that pass both as EAN-8 and UPC-E are without a type.
    ambiguous: Literal["EAN8", "UPC"] | None = None


class AwsSettings(Frozen):
    """The connection and region of our own S3, SQS and DynamoDB."""

    conn_id: str = "aws_default"
    region: str = "us-east-1"


class Settings(Frozen):
    """Everything that says what a deployment is. ``base`` is the folder of the file, for relative paths."""

    retailer: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    stores: Stores
    lake: str
    aws: AwsSettings = AwsSettings()
    ledger: Ledger = Ledger()
    results: Results
    api: Api = Api()
    schedule: Schedule = Schedule()
    sources: tuple[Annotated[SourceSettings, Field(discriminator="kind")], ...] = Field(min_length=1)
    merge: MergeSettings = MergeSettings()
    mapping: Annotated[Mapping, BeforeValidator(lambda v: v)] = Field(default_factory=dict)
    rules: dict[str, Rule] = Field(default_factory=dict)
    guards: Guards = Guards()
    notify: Notify = Notify()
    alerts: AlertSettings = AlertSettings()
    archive: Archive = Archive()
    probe: ProbeSettings = ProbeSettings()
    rollback: Rollback = Rollback()
    #: Shards of whole stores are packed up to about this many rows; it bounds a prepare task's memory.
    shard_rows: int = Field(default=300_000, ge=1)
    base: Path = Path()

    _targets = field_validator("mapping")(_known_targets)

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, rules: dict[str, Rule]) -> dict[str, Rule]:
        from catalog_sync.contract.codes import Code

        unknown = sorted(set(rules) - {code.value for code in Code})
        if unknown:
            raise ValueError(f"unknown rule(s) {', '.join(unknown)}; known: {', '.join(Code)}")
        return rules

    @model_validator(mode="after")
    def _known_routes(self) -> Settings:
        for severity, route in self.alerts.routes.items():
            if unknown := sorted(set(route) - set(self.notify.channels)):
                known = ", ".join(self.notify.channels) or "none"
                raise ValueError(
                    f"alerts.routes.{severity.value}: {unknown[0]!r} is not among notify.channels ({known})"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources: the name {twice[0]!r} is used twice")
        for key, order in {"precedence": self.merge.precedence, **self.merge.fields}.items():
            unknown = sorted(set(order) - set(names))
            if unknown:
                raise ValueError(f"merge.{key}: {unknown[0]!r} is not a source; sources: {', '.join(names)}")
        if len(names) > 1 and sorted(self.merge.precedence) != sorted(names):
            raise ValueError("merge.precedence: with several sources it must name each of them once")
        _known_targets({target: "" for target in self.merge.fields})
        for source in self.sources:
            lacking = sorted({"item_sku", "store_id"} - set(self.mapping_of(source.name)))
            if lacking and not source.transform:
                raise ValueError(
                    f"source {source.name!r}: its mapping has no {' and no '.join(lacking)}, so none of its rows could "
                    "be told apart: map each to a column or an expression, or name a transform that fills it"
                )
        return self

    def source(self, name: str) -> SourceSettings:
        """Return the settings of the source called ``name``; ``Misconfigured`` when there is none."""
        for source in self.sources:
            if source.name == name:
                return source
        raise Misconfigured(f"there is no source {shorten(name)!r}; sources: {', '.join(s.name for s in self.sources)}")

    def mapping_of(self, name: str) -> Mapping:
        """Return the mapping of the source called ``name``: the file's own, overridden by the source's."""
        return {**self.mapping, **self.source(name).mapping}


def load(path: Path | str | None = None) -> Settings:
    """Read the configuration at ``path``, or where ``CATALOG_CONFIG`` says, or the default one.

    :raises Misconfigured: the file cannot be read, is not YAML, or breaks a rule; every broken key is named.
    """
    file = Path(path or os.environ.get("CATALOG_CONFIG") or DEFAULT_CONFIG).expanduser().resolve()
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except Exception as error:  # PyYAML lets out whatever a value's conversion raises, and RecursionError when too deep
        raise Misconfigured(f"{file}: cannot be read as YAML: {shorten(error, 300)}") from error
    if not isinstance(raw, dict):
        raise Misconfigured(f"{file}: must be a mapping of settings, not {type(raw).__name__}")
    try:
        return Settings.model_validate({**raw, "base": file.parent})
    except ValidationError as error:
        raise Misconfigured("\n".join(_explain(file, problem) for problem in error.errors())) from error


def _explain(file: Path, problem: Any) -> str:
    key = shorten(".".join(str(part) for part in problem["loc"]) or "(top level)", 200)
    rule = shorten(problem["msg"].removeprefix("Value error, "), 600)
    if problem["type"] == "extra_forbidden":
        rule = "is not a known key; look for a misspelling"
    value = problem.get("input")
    shown = "" if isinstance(value, (dict, list)) else f" = {shorten(repr(value))}"
    return f"{file}: {key}{shown}: {rule}"
