"""Signing requests to Amazon's Catalog API with AWS Signature Version 4."""

from __future__ import annotations

import hashlib
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

#: The service name that Amazon's samples sign with (``catalog_api_invoke``, ``catalog_api_get_status``).
SERVICE = "execute-api"


class Signer:
    """Signs requests for one region.

    :param credentials: botocore credentials; those that renew themselves do so in ``prepare``.
    :param region: the signing region: a setting, never guessed from the host name.
    """

    def __init__(self, credentials: Any, region: str) -> None:
        self._credentials = credentials
        self._region = region

    def prepare(self, body: bytes) -> Prepared:
        """Do what may take long (renew credentials, hash the body), so that signing itself takes no time.

        :raises botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: credentials could not be renewed.
        """
        return Prepared(self._credentials.get_frozen_credentials(), self._region, body)


class Prepared(SigV4Auth):
    """One request body, ready to be signed."""

    def __init__(self, frozen: Any, region: str, body: bytes) -> None:
        super().__init__(frozen, SERVICE, region)
        self._body = body
        self._sha256 = hashlib.sha256(body).hexdigest()

    def payload(self, request: Any) -> str:
        """Return the hash of the body, known since ``prepare``."""
        return self._sha256

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers of a POST of the body to ``url``, signed for this moment."""
        request = AWSRequest(
            method="POST",
            url=url,
            data=self._body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        self.add_auth(request)
        return dict(request.headers.items())
