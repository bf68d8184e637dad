"""Secrets planted in a deployment, and the search for them in everything that it writes down (invariant I8)."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from catalog_local.environment import REGION, ROLE
from catalog_local.ports import HOST, Ports
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET

LOGIN, PASSWORD = "pos-reader", "planted/password+of=pos"
EXTERNAL_ID = "planted-external-id-4711"

#: What nobody may find, whatever the values are: presigned links, signed requests, request bodies.
PATTERNS = {
    "a presigned link": rb"X-Amz-(Signature|Credential|Security-Token)|[?&]Signature=",
    "a signed request": rb"AWS4-HMAC-SHA256|Authorization: (Basic|Bearer) \S",
    "a request body": rb'"catalogItems"|"item_sku": ?"[^"]+", ?"external_product_id"',
}


class PosHandler(BaseHTTPRequestHandler):
    """Answers as the script says, and with rows to whoever knows the password."""

    def do_GET(self) -> None:
        """Answer one page."""
        server: Any = self.server
        wanted = "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
        knows = self.headers["Authorization"] == wanted
        server.seen.append(knows)
        status = server.script.pop(0) if server.script else (200 if knows else 401)
        body = json.dumps({"rows": server.rows, "echo": self.headers["Authorization"]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def pos(rows: list[dict[str, str]]) -> Iterator[Any]:
    """Run a source that asks for a password; ``script`` are the statuses of its next answers, ``seen`` who knew it."""
    server: Any = ThreadingHTTPServer((HOST, 0), PosHandler)
    server.rows, server.script, server.seen = rows, [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connections(ports: Ports, pos_port: int) -> dict[str, str]:
    """Return the deployment's connections, all with secrets in them."""
    made = {
        "pos": {"conn_type": "http", "host": f"http://{HOST}:{pos_port}", "login": LOGIN, "password": PASSWORD},
        "catalog_api": {
            "conn_type": "http",
            "host": f"http://{HOST}:{ports.sandbox}",
            "extra": {"region_name": REGION, "role_arn": ROLE, "external_id": EXTERNAL_ID},
        },
        "aws_default": {
            "conn_type": "aws",
            "login": DEFAULT_KEY,
            "password": DEFAULT_SECRET,
            "extra": {"region_name": REGION, "endpoint_url": f"http://{HOST}:{ports.aws}"},
        },
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in made.items()}


def forms(secret: str) -> set[bytes]:
    """Return how a secret may be written down."""
    plain = secret.encode()
    whole = {plain, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), base64.b64encode(plain)}
    return whole | {base64.b64encode(f"{LOGIN}:{secret}".encode())}


def leaks(name: str, data: bytes, secrets: dict[str, str]) -> list[str]:
    """Return which secrets and forbidden things stand in some bytes, with what is around the first of each."""
    found = []
    for what, secret in secrets.items():
        for form in forms(secret):
            if form in data:
                found.append(f"{name}: {what}: {_around(data, data.index(form))}")
    for what, pattern in PATTERNS.items():
        if match := re.search(pattern, data):
            found.append(f"{name}: {what}: {_around(data, match.start())}")
    return found


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of every file below the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def _around(data: bytes, at: int) -> str:
    return repr(data[max(0, at - 60) : at + 60])
