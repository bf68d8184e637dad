"""What a sandbox is made of: stores, accounts, durations, limits and faults, as one frozen, validated object."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from catalog_sandbox.faults import FaultPlan

#: The stores and keys below exist only in the sandbox; the secret is public and opens nothing else.
DEFAULT_ACCOUNT = "123456789012"
OTHER_ACCOUNTS = 210987654320
DEFAULT_KEY = "AKIASANDBOX0000000001"
DEFAULT_SECRET = "sandbox-secret"  # noqa: S105


class ConfigError(ValueError):
    """The configuration file cannot be read or breaks a rule."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Account(_Frozen):
    """An AWS account that may call the API.

    ``roles`` are role names whose sessions (from the sandbox's STS) are allowlisted, ``keys`` maps static access key
    ids to their secrets. An account may serve several retailers (``get_catalog_upload_status`` says "retailers").
    """

    retailers: tuple[str, ...]
    roles: tuple[str, ...] = ("CatalogApiCaller",)
    keys: dict[str, str] = Field(default_factory=dict)


def _accounts(retailers: Iterable[str]) -> dict[str, Account]:
    made: dict[str, Account] = {}
    for number, retailer in enumerate(retailers):
        account = DEFAULT_ACCOUNT if number == 0 else f"{OTHER_ACCOUNTS + number:012d}"
        made[account] = Account(retailers=(retailer,), keys={} if number else {DEFAULT_KEY: DEFAULT_SECRET})
    return made


class Timing(_Frozen):
    """How long things take, in seconds of Amazon's time, divided by ``time_scale`` to get seconds here."""

    #: From the 201 until processing begins. Not documented: own values.
    queued: float = Field(default=20, ge=0)
    #: From the begin of processing to its end.
    processing: float = Field(default=60, ge=0)
    #: Each of the two varies by up to this part of itself, so uploads may overtake each other (U24).
    jitter: float = Field(default=0.5, ge=0, le=1)
    #: From ``DONE`` until the stores know the items (``catalog_welcome``: up to one hour; U32).
    propagation: float = Field(default=3600, ge=0)
    #: The life of a report link (``sample_store_app_entry``: 60 minutes).
    link_life: float = Field(default=3600, gt=0)


class SandboxConfig(_Frozen):
    """The whole configuration; every field has a default that fits the project's own examples."""

    region: str = "us-east-1"
    #: A stage path before ``/v1``, as API Gateway has (U1): ``prod`` puts the API at ``/prod/v1/...``.
    stage: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$")
    #: Under which URL the sandbox is reached, for the links it gives out; empty: that of its own host and port.
    public_url: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    topic_arn: str = Field(
        default="arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus",
        pattern=r"^arn:aws[\w-]*:sns:[\w-]+:\d{12}:.+$",
    )
    retailers: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {
            "acme": ("SEA-001", "SEA-002", "PDX-001", "NYC-014", "CHI-007", "LON-003"),
            "globex": ("GBX-001",),
        }
    )
    #: By default the first retailer's account has the static key, and each further retailer has an account of its own.
    accounts: dict[str, Account] = Field(default_factory=lambda data: _accounts(data.get("retailers", ())))
    seed: int = 0
    time_scale: float = Field(default=1.0, gt=0)
    timing: Timing = Timing()
    #: Requests that may start in any one-second window, per account over all operations (U5). Real time, never scaled.
    rate_limit: int = Field(default=10, ge=1)
    #: List the failures only in a report; the summary still counts everything.
    failures_only: bool = False
    #: Give a report and a link for ``FATAL`` and ``CANCELLED`` ingestions too (U10).
    failure_reports: bool = False
    #: ``assumed``: a subscription works at once. ``required``: only after its SubscribeURL was visited.
    confirmation: Literal["assumed", "required"] = "assumed"
    #: ``present``: a queue policy, where there is one, must let the topic in. ``required``: there must be one.
    queue_policy: Literal["present", "required"] = "present"
    #: How notices are signed: ``1`` is SHA-1, ``2`` is SHA-256.
    signature_version: Literal["1", "2"] = "2"
    faults: FaultPlan = FaultPlan()

    @model_validator(mode="after")
    def _stores_belong_to_one(self) -> SandboxConfig:
        stores = [store for stores in self.retailers.values() for store in stores]
        if len(stores) != len(set(stores)):
            raise ValueError("retailers: a store belongs to exactly one retailer")
        for number, account in self.accounts.items():
            if unknown := set(account.retailers) - set(self.retailers):
                raise ValueError(f"accounts.{number}.retailers: unknown retailer {sorted(unknown)}")
        return self

    def seconds(self, amazon_seconds: float) -> float:
        """Return a duration of Amazon's time as seconds here."""
        return amazon_seconds / self.time_scale

    def retailer_of(self, store: str) -> str | None:
        """Return the retailer that has the store, or None."""
        return next((name for name, stores in self.retailers.items() if store in stores), None)

    def with_stores(self, stores: list[str]) -> SandboxConfig:
        """Return a copy in which the first retailer has exactly these stores."""
        first = next(iter(self.retailers))
        return self.changed(retailers={**self.retailers, first: tuple(stores)})

    def changed(self, **changes: Any) -> SandboxConfig:
        """Return a validated copy with some fields replaced."""
        return SandboxConfig.model_validate({**self.model_dump(), **changes})


def load(path: Path) -> SandboxConfig:
    """Read a YAML file. Raises ConfigError with the file, the key and the rule."""
    try:
        return SandboxConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
