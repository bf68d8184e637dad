"""The sandbox as a running thing: moto's AWS services and the simulated API, in this process, on two ports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import time
import urllib.request
from types import TracebackType
from typing import Any

import uvicorn
from moto.server import ThreadedMotoServer
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from catalog_sandbox import app, moto_aws
from catalog_sandbox.api import Api
from catalog_sandbox.config import SandboxConfig
from catalog_sandbox.core import Clock, Core
from catalog_sandbox.identities import Identities
from catalog_sandbox.notices import Notices, Signer

log = logging.getLogger(__name__)

#: How often the pump looks for what is due when nothing is due sooner, in seconds.
_PUMP = 0.05


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application, which may have to end it (faults reset_* and timeout_*)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Sandbox:
    """A running sandbox; a context manager that stops it. ``api_url`` has the stage path, ``control_url`` has not."""

    def __init__(self, config: SandboxConfig, host: str, port: int, aws_port: int, clock: Clock) -> None:
        self.config = config
        self._host = host
        listener = moto_aws.listen(host, port)
        self._port = listener.getsockname()[1]
        try:
            self._moto: ThreadedMotoServer = moto_aws.start(host, aws_port)
        except OSError:
            listener.close()
            raise
        self.aws_url = f"http://{host}:{self._moto.get_host_and_port()[1]}"
        self._ended = threading.Event()
        self._advancing = threading.Lock()
        signer = Signer(config.topic_arn, config.signature_version, time.time)
        aws = moto_aws.MotoAws(self.aws_url, config.topic_arn, config.region)
        aws.create_topic()
        self.notices = Notices(aws, signer, self.public_url, config.topic_arn, config.confirmation, config.queue_policy)
        self.core = Core(
            config,
            clock=clock,
            publish=self.notices.publish,
            base_url=self.public_url,
            secret=secrets.token_bytes(32),
            lazy=False,
        )
        self.api = Api(self.core, Identities(config), time.time)
        self._serve_on(listener)
        self._pump = threading.Thread(target=self._run_pump, name="sandbox-pump", daemon=True)
        self._pump.start()

    @classmethod
    def start(
        cls,
        config: SandboxConfig | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        aws_port: int = 0,
        clock: Clock = time.time,
    ) -> Sandbox:
        """Start a sandbox; port 0 takes a free one. ``clock`` paces processing, not limits or signatures."""
        return cls(config or SandboxConfig(), host, port, aws_port, clock)

    @property
    def control_url(self) -> str:
        """The URL under which ``/sandbox`` and ``/reports`` lie."""
        return f"http://{self._host}:{self._port}"

    @property
    def public_url(self) -> str:
        """The URL that the sandbox writes into links: ``control_url`` unless the configuration says another."""
        return self.config.public_url or self.control_url

    @property
    def api_url(self) -> str:
        """The base URL of the API."""
        return f"{self.control_url}/{self.config.stage}".rstrip("/")

    def start_api(self) -> None:
        """Start the HTTP part over the core; after ``stop_api`` on the same port and with the same state."""
        self._serve_on(moto_aws.listen(self._host, self._port))

    def _serve_on(self, listener: socket.socket) -> None:
        settings = uvicorn.Config(
            app.build(self.core, self.api, self.notices, self.restart),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(settings)
        listener.listen(128)
        self._http = threading.Thread(target=self._serve, args=(listener,), name="sandbox-api", daemon=True)
        self._http.start()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.closing(listener):
            self._server.run(sockets=[listener])

    def stop_api(self) -> None:
        """Stop the HTTP part; the state stays, and time goes on."""
        self._server.should_exit = True
        self._http.join()

    def restart(self, down: float) -> None:
        """Be away as a process that is killed and started again is: both ports, for ``down`` seconds.

        Connections to the API are cut, so a request that is under way may be accepted with its answer lost. Nothing is
        processed meanwhile. What Amazon and AWS hold stays, as theirs would.
        """
        with self._advancing:
            for connection in list(self._server.server_state.connections):
                # The protocol's own loop runs in the server's thread.
                with contextlib.suppress(RuntimeError):
                    connection.loop.call_soon_threadsafe(connection.transport.abort)
            self.stop_api()
            aws_port = self._moto.get_host_and_port()[1]
            self._moto.stop()
            self._ended.wait(down)
            self._moto = moto_aws.start(self._host, aws_port)
            self.start_api()

    def _run_pump(self) -> None:
        while not self._ended.wait(_PUMP):
            with self._advancing:
                self._advance()

    def _advance(self) -> None:
        try:
            # The pause lets requests that wait for the core in between two events.
            while self.core.step() and not self._ended.wait(0.001):
                self.core.flush()
            self.core.flush()
        except Exception:
            log.exception("the sandbox cannot advance")

    def wait(self) -> None:
        """Block until the sandbox is stopped."""
        while not self._ended.wait(1):
            pass

    def stop(self) -> None:
        """Stop everything."""
        self._ended.set()
        self._pump.join()
        self.stop_api()
        # moto's state belongs to the process; without this the next sandbox in it would find the queues of this one.
        urllib.request.urlopen(urllib.request.Request(f"{self.aws_url}/moto-api/reset", method="POST")).close()  # noqa: S310
        self._moto.stop()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self.stop()
