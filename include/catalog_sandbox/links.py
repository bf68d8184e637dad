"""Links to reports that look and expire like S3's presigned ones, which moto's never do.

A link lives 60 minutes of Amazon's time (``sample_store_app_entry``); afterwards the answer is S3's 403 with XML.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.sax.saxutils import escape

#: What S3 writes for an hour, whatever the time scale.
_EXPIRES = "3600"


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Links:
    """Makes links and judges them. ``secret`` signs them, ``life`` is in seconds of the sandbox clock."""

    def __init__(self, secret: bytes, life: float) -> None:
        self._secret = secret
        self._life = life

    def _sign(self, ingestion_id: str, issued: str) -> str:
        return hmac.new(self._secret, f"{ingestion_id}\n{issued}".encode(), hashlib.sha256).hexdigest()

    def make(self, base_url: str, ingestion_id: str, now: float, expired: bool = False) -> str:
        """Return a link that lives from now, or one that has just expired."""
        issued = repr(now - (self._life + 1 if expired else 0))
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": datetime.fromtimestamp(float(issued), UTC).strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Expires": _EXPIRES,
            "X-Amz-SignedHeaders": "host",
            "X-Issued": issued,
            "X-Amz-Signature": self._sign(ingestion_id, issued),
        }
        return f"{base_url}/reports/{ingestion_id}.json?{urlencode(query)}"

    def problem(self, ingestion_id: str, query: dict[str, str], now: float) -> str | None:
        """Return S3's error document when the link is no good any more (or never was), else None."""
        issued = query.get("X-Issued", "")
        signature = query.get("X-Amz-Signature", "")
        if not hmac.compare_digest(signature.encode(), self._sign(ingestion_id, issued).encode()):
            return error_xml("SignatureDoesNotMatch", "The request signature we calculated does not match.")
        ends = float(issued) + self._life
        if now < ends:
            return None
        detail = f"<X-Amz-Expires>{_EXPIRES}</X-Amz-Expires><Expires>{_iso(ends)}</Expires>"
        return error_xml("AccessDenied", "Request has expired", f"{detail}<ServerTime>{_iso(now)}</ServerTime>")


def error_xml(code: str, message: str, detail: str = "") -> str:
    """Return an S3 error document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>{detail}"
        "<RequestId>SANDBOX0REQUEST0</RequestId><HostId>sandbox</HostId></Error>"
    )
