"""The section ``probe`` of the configuration: the canary that the probe sends."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from catalog_sync.durations import Duration


class Canary(BaseModel):
    """One item that is sent the whole way: a SKU that is in a source, in a store that is set aside for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(min_length=1)
    sku: str = Field(min_length=1)
    #: How long its report is awaited.
    within: Duration = timedelta(minutes=30)


class ProbeSettings(BaseModel):
    """What the probe does besides looking; nothing by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    canary: Canary | None = None
