"""AWS Signature Version 4, verified: who signed a request, and whether the signature is right.

Source: AWS's Signature Version 4 documentation; the service name is ``execute-api`` (``catalog_api_invoke``). Answers
are those of API Gateway: 403 with ``{"message": ...}`` (U2). Signatures are judged on real time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

SERVICE = "execute-api"
#: AWS accepts a request whose time is at most 15 minutes off.
MAX_SKEW = 15 * 60
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_STAMP = "%Y%m%dT%H%M%SZ"

_MISSING = "Missing Authentication Token"
_INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105
_EXPIRED_TOKEN = "The security token included in the request is expired"  # noqa: S105
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


class Forbidden(Exception):
    """The request is refused with HTTP 403 and this text as ``message``."""


@dataclass(frozen=True)
class Identity:
    """An access key: whose it is, its secret, and for a session its token and end.

    ``role`` is None for a static key. ``expires`` is in unix seconds.
    """

    account: str
    arn: str
    secret: str
    role: str | None = None
    token: str | None = None
    expires: float | None = None


@dataclass(frozen=True)
class Signed:
    """What of an HTTP request a signature covers. ``path`` is as sent, still percent-encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def _canonical(request: Signed, signed: str) -> str:
    query = sorted((quote(key, safe="-_.~"), quote(value, safe="-_.~")) for key, value in _pairs(request.query))
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed.split(";"))
    return "\n".join(
        [
            request.method,
            quote(request.path, safe="/~"),
            "&".join(f"{key}={value}" for key, value in query),
            headers,
            signed,
            hashlib.sha256(request.body).hexdigest(),
        ]
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(request: Signed, signed: str, stamp: str, scope: tuple[str, str, str], secret: str) -> str:
    """Return the signature: ``signed`` are the header names, ``scope`` is date, region and service."""
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            stamp,
            "/".join([*scope, "aws4_request"]),
            hashlib.sha256(_canonical(request, signed).encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = _hmac(key, part)
    return _hmac(key, text).hex()


def _check_time(stamp: str, now: float) -> None:
    try:
        then = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Forbidden(_MISSING) from None
    text = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    if then < now - MAX_SKEW:
        raise Forbidden(f"Signature expired: {stamp} is now earlier than {text} - 15 min.")
    if then > now + MAX_SKEW:
        raise Forbidden(f"Signature not yet current: {stamp} is still later than {text} + 15 min.")


def _check_scope(match: re.Match[str], stamp: str, region: str) -> None:
    if match["service"] != SERVICE:
        raise Forbidden(f"Credential should be scoped to correct service: '{SERVICE}'. ")
    if match["region"] != region:
        raise Forbidden(f"Credential should be scoped to a valid region, not '{match['region']}'. ")
    if match["date"] != stamp[:8]:
        raise Forbidden("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
    if not {"host", "x-amz-date"} <= set(match["signed"].split(";")):
        raise Forbidden("'Host' and 'X-Amz-Date' must be 'SignedHeader's in the AWS Authorization.")


def verify(request: Signed, *, region: str, now: float, lookup: Callable[[str], Identity | None]) -> Identity:
    """Return who signed the request, or raise Forbidden.

    ``headers`` have lower-case names, ``lookup`` turns an access key id into its identity, ``now`` is real time.
    """
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    stamp = request.headers.get("x-amz-date", "")
    if match is None or not stamp:
        raise Forbidden(_MISSING)
    _check_time(stamp, now)
    _check_scope(match, stamp, region)
    identity = lookup(match["key"])
    if identity is None or (identity.token or "") != request.headers.get("x-amz-security-token", ""):
        raise Forbidden(_INVALID_TOKEN)
    if identity.token and "x-amz-security-token" not in match["signed"].split(";"):
        raise Forbidden(_INVALID_TOKEN)
    if identity.expires is not None and now >= identity.expires:
        raise Forbidden(_EXPIRED_TOKEN)
    scope = (match["date"], match["region"], match["service"])
    if not hmac.compare_digest(sign(request, match["signed"], stamp, scope, identity.secret), match["signature"]):
        raise Forbidden(_MISMATCH)
    return identity
