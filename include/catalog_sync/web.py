"""Which addresses may be called at all."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_secure(url: str) -> bool:
    """Tell whether ``url`` is https, or plain http to this very host or to a neighbouring container.

    A container's name has no dot. Plain http to any other address would show session tokens and data to the network,
    and a forged link could reach the instance metadata service of a cloud host (169.254.169.254, http only).
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises ValueError when it is not a number
    except ValueError:
        return False
    if not host or not url.isprintable() or " " in url or parts.username is not None:
        return False
    if parts.scheme == "https":
        return True
    return parts.scheme == "http" and (is_loopback(host) or not any(sign in host for sign in ".:"))


def is_loopback(host: str) -> bool:
    """Tell whether the host name or address is this very host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
