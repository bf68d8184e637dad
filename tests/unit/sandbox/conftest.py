"""A sandbox in this process: its clock moves when a test says so, and no socket is opened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from stdnum import ean

from catalog_sandbox.api import Api
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET, SandboxConfig
from catalog_sandbox.core import Core
from catalog_sandbox.faults import FaultPlan
from catalog_sandbox.identities import Identities
from catalog_sandbox.inprocess import SandboxTransport

BASE = "http://sandbox.test"
ACCOUNT = "123456789012"
STORES = ("SEA-001", "SEA-002", "PDX-001", "NYC-014", "CHI-007", "LON-003")


class Signing(httpx.Auth):
    """Signs requests as botocore does."""

    requires_request_body = True

    def __init__(self, credentials: Credentials, region: str = "us-east-1", service: str = "execute-api") -> None:
        self._auth = SigV4Auth(credentials, service, region)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request with its signature."""
        signed = AWSRequest(
            request.method, str(request.url), data=request.content, headers={"Content-Type": "application/json"}
        )
        self._auth.add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request


class World:
    """A core, its API and a signing client. ``now`` is Amazon's time here, ``wall`` the real one as the API sees it."""

    account = ACCOUNT
    stores = STORES

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.now = time.time()
        self.wall = time.time()
        #: How much real time passes per request: enough for the rate limit unless a test says otherwise.
        self.pace = 0.2
        self.notices: list[dict[str, Any]] = []
        self.core = Core(config, clock=lambda: self.now, publish=lambda text: self.notices.append(json.loads(text)))
        self.api = Api(self.core, Identities(config), lambda: self.wall)
        self.client = self.client_with(Credentials(DEFAULT_KEY, DEFAULT_SECRET))

    def client_with(self, credentials: Credentials, **scope: str) -> httpx.Client:
        """Return a client that signs with these credentials."""
        return httpx.Client(
            transport=SandboxTransport(self.api), base_url=BASE, auth=Signing(credentials, **scope), trust_env=False
        )

    def post(self, operation: str, body: Any, client: httpx.Client | None = None) -> httpx.Response:
        """Send a request to an operation."""
        self.wall += self.pace
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return (client or self.client).post(f"/v1/catalog/{operation}", content=content)

    def upload(self, *items: Any) -> httpx.Response:
        """Upload items."""
        return self.post("upload", {"catalogItems": list(items)})

    def archive(self, skus: list[str], stores: tuple[str, ...] = STORES) -> httpx.Response:
        """Archive SKUs."""
        return self.post("archive", {"itemSkus": skus, "allApplicableStores": list(stores)})

    def status(self, response: httpx.Response) -> dict[str, str]:
        """Return the status of the ingestion that a response named."""
        answer = self.post("getCatalogUploadStatus", {"ingestionId": response.json()["ingestionId"]})
        assert answer.status_code == 200
        return dict(answer.json())

    def run(self, seconds: float = 200) -> None:
        """Let Amazon's time pass; the default is longer than any processing without faults."""
        self.now += seconds
        self.core.tick()

    def report(self, response: httpx.Response) -> dict[str, Any]:
        """Let the ingestion of a response end and return its report."""
        self.run()
        return dict(self.client.get(self.status(response)["reportDownloadLink"], auth=None).json())

    def outcome(self, *items: Any) -> list[str]:
        """Upload items, process them and return per report line its error code, ``""`` for a success."""
        return [line["errorCode"] for line in self.report(self.upload(*items))["items"]]

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the catalog by store and SKU."""
        return {(row["store"], row["item_sku"]): row for row in self.core.rows()}

    def script(self, *faults: str, **more: Any) -> None:
        """Order faults: each strikes once, in this order."""
        self.core.faults.replace(FaultPlan.model_validate({"script": [{"fault": fault} for fault in faults], **more}))


def upc(number: int) -> str:
    """Return the UPC-A with this number before its check digit."""
    return f"{number:011d}" + str(ean.calc_check_digit(f"{number:011d}"))


@pytest.fixture
def item() -> Callable[..., dict[str, Any]]:
    """Return a maker of valid items: ``item(7)`` has a SKU and a barcode of its own."""

    def make(number: int = 1, **fields: Any) -> dict[str, Any]:
        return {
            "item_sku": f"TEST-{number:03d}",
            "external_product_id": upc(number),
            "external_product_id_type": "UPC",
            "item_name": "Test Product",
            "store_id": "SEA-001",
            "standard_price": "9.99",
            **fields,
        }

    return make


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Return a maker of sandboxes with some configuration."""
    return lambda **config: World(SandboxConfig.model_validate(config))


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    """Return a sandbox with the default configuration."""
    return make_world()
