"""The client of Amazon's Catalog API: one request, one answer, classified.

Nothing is retried in here: the caller records every attempt before it starts. No frame library is imported in this
chain.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from catalog_sync.api.outcomes import (
    Answer,
    StatusAnswer,
    Verdict,
    classify_archive,
    classify_ingestion,
    classify_status,
    safe_text,
)
from catalog_sync.api.signing import Prepared, Signer
from catalog_sync.aws import Aws
from catalog_sync.breaker import Breaker, Closed, Passage
from catalog_sync.clock import Clock
from catalog_sync.errors import CatalogSyncError, Misconfigured, shorten
from catalog_sync.measures import LATENCY, REQUESTS, THROTTLED
from catalog_sync.tickets import Tickets
from catalog_sync.tracing import span
from catalog_sync.web import is_secure

if TYPE_CHECKING:
    from catalog_sync.connections import Connection, Connections
    from catalog_sync.settings import Settings

log = logging.getLogger(__name__)

#: Paths below the base URL (``upload_catalog``, ``archive_catalog_api``, ``get_catalog_upload_status``).
UPLOAD = "/v1/catalog/upload"
ARCHIVE = "/v1/catalog/archive"
STATUS = "/v1/catalog/getCatalogUploadStatus"

#: More than this of an answer is not read: an ingestion id or an error text is far smaller.
MAX_ANSWER = 1024 * 1024
#: Seconds to make a connection.
CONNECT_TIMEOUT = 10.0

# httpx raises these before the first byte of the request has left.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
# STS answers these when a retry cannot help.
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId",
    "MalformedPolicyDocument", "SignatureDoesNotMatch", "UnrecognizedClientException", "ValidationError",
})  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})

_A = TypeVar("_A", Answer, StatusAnswer)
_Classify = Callable[[int, Mapping[str, str], bytes, float], _A]


class CatalogApi:
    """Amazon's Catalog API.

    :param base_url: where it is, a stage path allowed.
    :param credentials: botocore credentials; those that renew themselves are renewed when needed.
    :param region: the region that requests are signed for.
    :param tickets: the shared rate limit; one ticket is taken before every request.
    :param breaker: the shared circuit breaker; it is asked before every request, and told what came of it.
    :param timeout: seconds to wait for the network, each time; an answer that takes over twice as long in all is given
        up.
    :param transport: how requests travel; tests pass their own.
    :param renew: where to get other credentials when Amazon says that these have expired.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Any,
        region: str,
        tickets: Tickets,
        breaker: Breaker,
        clock: Clock,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        renew: Callable[[], Any] | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._region = region
        self._signer = Signer(credentials, region)
        self._renew = renew
        self._renewed = False
        self._tickets = tickets
        self._breaker = breaker
        self._clock = clock
        self._timeout = timeout
        self._http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            headers={"Accept-Encoding": "identity", "User-Agent": "catalog-sync"},
            # No cookies: a signed request says all, and a cookie that cannot be sent back would end every later one.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        # Callers need not close the client; its connections end with it.
        self._finalizer = weakref.finalize(self, self._http.close)

    @classmethod
    def from_connection(
        cls,
        settings: Settings,
        connections: Connections,
        clock: Clock,
        tickets: Tickets,
        breaker: Breaker,
        transport: httpx.BaseTransport | None = None,
    ) -> CatalogApi:
        """Return the client of the deployment's API connection (``api.conn_id``).

        The connection's ``host`` is the base URL. Its extra holds ``region_name`` (required), ``role_arn`` and
        ``external_id``. Without a login and password the credentials are those of the AWS connection.

        :raises Misconfigured: the connection is absent or incomplete, or its base URL is not secure.
        """
        connection = connections.get(settings.api.conn_id)
        region = str(connection.extra.get("region_name") or "")
        if not region:
            raise Misconfigured(
                f"connection {connection.conn_id!r}: extra.region_name is missing: the region that requests are signed "
                "for, such as us-east-1; it is never guessed from the host name"
            )
        if not is_secure(connection.base_url):
            raise Misconfigured(
                f"connection {connection.conn_id!r}: host = {shorten(_without_user(connection.base_url))!r}: must be "
                "the https base URL that Amazon gave you (plain http only to this host or a container)"
            )
        return cls(
            base_url=connection.base_url,
            credentials=account_of(settings, connections, connection).credentials(),
            region=region,
            tickets=tickets,
            breaker=breaker,
            clock=clock,
            timeout=settings.api.timeout.total_seconds(),
            transport=transport,
            # Read anew: a secrets backend may hold others by then.
            renew=lambda: account_of(settings, connections, connections.get(settings.api.conn_id)).credentials(),
        )

    def upload(self, body: bytes, not_after: float | None = None) -> Answer:
        """Send one batch, the bytes of ``{"catalogItems": [...]}``; nothing after the Unix time ``not_after``."""
        return self._call("upload", UPLOAD, body, classify_ingestion, Answer, not_after=not_after)

    def archive(self, body: bytes, not_after: float | None = None) -> Answer:
        """Ask Amazon to archive SKUs in every store; nothing after the Unix time ``not_after``.

        :param body: the bytes of ``{"itemSkus": [...], "allApplicableStores": [...]}``, the latter every store of the
            retailer.
        """
        return self._call("archive", ARCHIVE, body, classify_archive, Answer, not_after=not_after)

    def status(self, ingestion_id: str, spare: bool = False) -> StatusAnswer:
        """Ask how far an ingestion is; ``spare`` keeps to one ticket in nine, while uploads are being sent."""
        return self._call("status", STATUS, _json({"ingestionId": ingestion_id}), classify_status, StatusAnswer, spare)

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._finalizer()

    def __enter__(self) -> CatalogApi:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(
        self,
        operation: str,
        path: str,
        body: bytes,
        classify: _Classify[_A],
        answer: type[_A],
        spare: bool = False,
        not_after: float | None = None,
    ) -> _A:
        url = self._base_url + path
        try:
            prepared = self._prepare(body)
        except (BotoCoreError, ClientError) as error:
            return answer(_credentials_verdict(error), message=_credentials_message(error), sent_at=self._clock.time())
        passage: Passage | Closed | None = None
        try:
            passage = self._breaker.ask()
            if not isinstance(passage, Closed):
                self._tickets.take(operation, spare=spare)
        except (BotoCoreError, ClientError) as error:
            if isinstance(passage, Passage):
                self._breaker.give_back(passage)
            message = f"the ledger gave no ticket ({type(error).__name__}): nothing was sent"
            return answer(Verdict.NOT_SENT, message=message, sent_at=self._clock.time())
        if isinstance(passage, Closed):
            return answer(
                Verdict.BREAKER_OPEN, message=passage.why, retry_after=passage.seconds, sent_at=self._clock.time()
            )
        sent_at = self._clock.time()
        if not_after is not None and sent_at > not_after:
            self._breaker.give_back(passage)
            message = f"{sent_at - not_after:.0f} s too late: this host was suspended or very slow; nothing was sent"
            return answer(Verdict.NOT_SENT, message=message, sent_at=sent_at)
        with span(f"catalog {operation}") as traced:
            try:
                status, headers, data = self._post(url, body, prepared.headers(url), sent_at)
            except httpx.HTTPError as error:
                sent = not isinstance(error, _NOTHING_SENT)
                verdict = Verdict.AMBIGUOUS if sent else Verdict.NOT_SENT
                outcome = answer(verdict, message=_transport_message(error, url, sent))
            else:
                outcome = classify(status, headers, data, self._clock.time())
            outcome = replace(outcome, sent_at=sent_at, latency=self._clock.time() - sent_at)
            traced.say(bytes=len(body), http_status=outcome.http_status, verdict=outcome.verdict.value,
                       ingestion_id=outcome.ingestion_id or None)  # fmt: skip
        self._breaker.tell(passage, outcome)
        outcome = self._with_other_credentials(outcome)
        _measure(operation, outcome)
        log.info(
            "%s of %s bytes: %s (HTTP %s%s) in %.3f s",
            operation, len(body), outcome.verdict.value, outcome.http_status,
            # Not only in the ledger, which may fail just now.
            f", ingestion {shorten(outcome.ingestion_id)!r}" if outcome.ingestion_id else "", outcome.latency,
        )  # fmt: skip
        return outcome

    def _prepare(self, body: bytes) -> Prepared:
        try:
            return self._signer.prepare(body)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _EXPIRED or not self._other_credentials():
                raise
            return self._signer.prepare(body)

    def _with_other_credentials(self, answer: _A) -> _A:
        """Make of a refusal of old credentials one that may be tried again, if there are others to try with."""
        if not answer.expired:
            self._renewed = False
            return answer
        if not self._other_credentials():
            return answer
        log.warning("Amazon says that the credentials have expired; the next request is signed with renewed ones")
        return replace(answer, verdict=Verdict.RETRY_LATER)

    def _other_credentials(self) -> bool:
        """Renew the credentials, unless those that Amazon refuses have just been renewed; tell whether it was done."""
        if self._renew is None or self._renewed:
            return False
        self._renewed = True
        try:
            self._signer = Signer(self._renew(), self._region)
        except CatalogSyncError as error:
            log.warning("The credentials could not be renewed: %s", error)
            return False
        return True

    def _post(
        self, url: str, body: bytes, headers: dict[str, str], began: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        with self._http.stream("POST", url, content=body, headers=headers) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER:
                    break
                if self._clock.time() - began > 2 * self._timeout:
                    raise httpx.ReadTimeout("the answer trickles", request=response.request)
            return response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(data[:MAX_ANSWER])


def _measure(operation: str, answer: Answer) -> None:
    REQUESTS.add(operation=operation, result=answer.verdict.value)
    LATENCY.took(answer.latency, operation=operation)
    THROTTLED.add(int(answer.throttled), operation=operation)


def account_of(settings: Settings, connections: Connections, connection: Connection) -> Aws:
    """Return the AWS account that calls the API: by the API connection's own keys or the AWS connection's."""
    extra = connection.extra
    account: Aws | None = None
    if connection.login and connection.password:
        # STS, for assuming a role, is reached where the AWS connection says (the sandbox, or AWS itself).
        endpoint = extra.get("endpoint_url")
        if extra.get("role_arn") and not endpoint:
            endpoint = connections.aws(settings.aws.conn_id, settings.aws.region).endpoint_url
        account = Aws.of(
            region=settings.aws.region,
            access_key=connection.login,
            secret_key=connection.password,
            session_token=extra.get("aws_session_token"),
            endpoint_url=endpoint,
        )
    else:
        account = connections.aws(settings.aws.conn_id, settings.aws.region)
    role = extra.get("role_arn")
    return account.assume(str(role), extra.get("external_id")) if role else account


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(parts.netloc, parts.netloc.rpartition("@")[2]) if "@" in parts.netloc else url


def _transport_message(error: httpx.HTTPError, url: str, sent: bool) -> str:
    host = urlsplit(url).netloc
    what = "the request was sent, its answer is lost" if sent else "nothing was sent"
    return f"{host}: {type(error).__name__}: {safe_text(str(error), 120)} ({what})"


def _credentials_verdict(error: Exception) -> Verdict:
    denied = isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in _DENIED
    if denied or isinstance(error, ParamValidationError):
        return Verdict.FORBIDDEN
    return Verdict.NOT_SENT


def _credentials_message(error: Exception) -> str:
    return f"no credentials to sign with: {safe_text(str(error))}. Look at role_arn, its trust policy and external_id"
