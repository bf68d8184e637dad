"""Ports on the loopback interface: three are used, and each can be moved by its variable."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from catalog_local.errors import LocalError

#: Everything listens here and nowhere else.
HOST = "127.0.0.1"
#: The variable that moves each port, and the port without it.
DEFAULTS = {"PORT": 8080, "SANDBOX_PORT": 8090, "AWS_PORT": 8091}
_USED_FOR = {"PORT": "Airflow's UI", "SANDBOX_PORT": "the sandbox", "AWS_PORT": "the sandbox's AWS services"}


@dataclass(frozen=True)
class Ports:
    """The ports of one local deployment."""

    ui: int
    sandbox: int
    aws: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Ports:
        """Return the ports that the variables name.

        :raises LocalError: a variable is no port number, or two name the same.
        """
        numbers = {name: _number(name, environ.get(name, "")) for name in DEFAULTS}
        if len(set(numbers.values())) != len(numbers):
            told = ", ".join(f"{name}={number}" for name, number in numbers.items())
            raise LocalError(f"{told}: each needs a port of its own")
        return cls(ui=numbers["PORT"], sandbox=numbers["SANDBOX_PORT"], aws=numbers["AWS_PORT"])


def _number(name: str, text: str) -> int:
    if not text:
        return DEFAULTS[name]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise LocalError(f"{name}={text[:20]}: must be a port number, 1 to 65535")
    return int(text)


def require_free(wanted: Mapping[str, int]) -> None:
    """Raise unless every port is free.

    :param wanted: variable name → port.
    :raises LocalError: names each taken port, who has it where that can be told, and the variable that moves it.
    """
    taken = {name: port for name, port in wanted.items() if not _is_free(port)}
    if taken:
        raise LocalError("\n".join(_explain(name, port) for name, port in taken.items()))


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed port's echo is no owner
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _explain(name: str, port: int) -> str:
    owner = _owner(port)
    who = f" by {owner}" if owner else ""
    return (
        f"port {port}, for {_USED_FOR[name]}, is taken{who}. Stop that, or choose another port: make run {name}=<port>"
    )


def _owner(port: int) -> str:
    # Other users' processes are hidden on most systems; then the message goes without.
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
