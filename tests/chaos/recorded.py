"""What is written down while a schedule is played: what reached Amazon, what it said, and what the lake took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from tests.chaos.effects import Effects
from tests.chaos.rows import Key, content_of

from catalog_sandbox.api import Api
from catalog_sandbox.core import Core
from catalog_sandbox.ingestions import Ingestion
from catalog_sandbox.inprocess import SandboxTransport
from catalog_sync.lake import Lake

if TYPE_CHECKING:
    from tests.chaos.world import World


@dataclass(frozen=True)
class Sent:
    """An upload request as it reached Amazon: when, by which run, and what it carried."""

    at: float
    run_id: str
    items: dict[Key, tuple[str, str]]


@dataclass(frozen=True)
class Archived:
    """An archive request as it reached Amazon: when, by which run, for which SKUs, and what stores had active items."""

    at: float
    run_id: str
    skus: tuple[str, ...]
    stores: frozenset[str]


@dataclass(frozen=True)
class Reported:
    """A line that a report of Amazon says ``SUCCESS`` or ``FAILED`` of."""

    key: Key
    content: tuple[str, str]
    status: str


class RecordingCore(Core):
    """The sandbox's core, which also keeps what each report says of which content."""

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.said: list[Reported] = []
        #: The SKUs whose archive a report has told of as done.
        self.said_archived: set[str] = set()

    def _process(self, ingestion: Ingestion, body: dict[str, Any]) -> list[dict[str, Any]]:
        lines = super()._process(ingestion, body)
        if ingestion.fault in ("fatal", "fatal_half", "cancelled"):
            return lines
        if ingestion.operation == "archive":
            self.said_archived |= {line["itemSku"] for line in lines if line["status"] == "SUCCESS"}
            return lines
        for line, item in zip(lines, body["catalogItems"], strict=True):
            self.said.append(Reported((line["storeId"], line["itemSku"]), content_of(item), line["status"]))
        return lines


class ChaosLake(Lake):
    """The lake, each of whose writes is an effect."""

    effects: Effects
    #: What was written over, although a run's things never change.
    broken_rules: list[str]

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        with self.effects.around("lake put"):
            # Books that are incomplete, and what pages show of them, are made anew when the run is accounted again.
            anew = key.endswith(("/books-incomplete.json", "/overview.json"))
            fixed = key.startswith("runs/") and not anew
            if fixed and self.exists(key) and self.get(key) != data:
                self.broken_rules.append(f"design 7: {key} was written twice, and not with the same bytes")
            super().put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one."""
        with self.effects.around("lake create"):
            return super().create(key, data)


class Wire(httpx.BaseTransport):
    """The way to Amazon: notes what arrives there, and when; a request is an effect."""

    def __init__(self, world: World, api: Api) -> None:
        self._world, self._inner = world, SandboxTransport(api)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request."""
        world = self._world
        if request.method == "GET":
            return self._inner.handle_request(request)
        with world.effects.around("request"):
            if request.url.path.endswith("/upload"):
                items = json.loads(request.content)["catalogItems"]
                carried = {(item["store_id"], item["item_sku"]): content_of(item) for item in items}
                world.sent.append(Sent(world.clock.now, world.sender, carried))
            elif request.url.path.endswith("/archive"):
                skus = json.loads(request.content)["itemSkus"]
                stores = frozenset(row["store_id"] for row in world.core.rows() if row["state"] == "ACTIVE")
                world.archived.append(Archived(world.clock.now, world.sender, tuple(skus), stores))
            world.clock.now += 0.03
            return self._inner.handle_request(request)
