"""What the sections of the configuration are made of: frozen models, and limits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A section: it does not change once it was read, and an unknown key in it is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(Frozen):
    """Too much: over ``percent``, or over ``max_rows`` where given; fewer than ``min_rows`` rows are never too much."""

    percent: float = Field(gt=0, le=100)
    min_rows: int = Field(default=50, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
