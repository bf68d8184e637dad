"""Where a measured run of ours has its things; light, because the process that starts the others must stay small."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.names import STORES


@dataclass(frozen=True)
class Place:
    """The lake's folder, the source file, and the sandbox's addresses. It crosses into measured processes as JSON."""

    lake: str
    source: str
    api_url: str
    aws_url: str
    stores: tuple[str, ...] = STORES

    @classmethod
    def of(cls, text: str) -> Place:
        """Return the place of its JSON."""
        raw = json.loads(text)
        return cls(**{**raw, "stores": tuple(raw["stores"])})

    def as_json(self) -> str:
        """Return its JSON."""
        return json.dumps(asdict(self))

    @property
    def table(self) -> Path:
        """The acknowledged table's folder."""
        return Path(self.lake) / "tables" / "acknowledged"
