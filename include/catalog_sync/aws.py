"""One AWS account and region: sessions, clients and object stores, with credentials that refresh themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

from catalog_sync.errors import Misconfigured

#: Bounded waits: a hung AWS call must not outlive a task. Retries are botocore's own, "standard" mode.
_CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})


@dataclass(frozen=True)
class Aws:
    """An AWS account as one connection sees it.

    ``endpoint_url`` points every service at another address (the sandbox); ``None`` means AWS itself.
    """

    session: Any
    region: str
    endpoint_url: str | None = None

    @classmethod
    def of(
        cls,
        region: str,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
    ) -> Aws:
        """Return the account of static credentials, or of boto3's own chain, with ``role_arn`` assumed when given."""
        session = boto3.Session(
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=session_token,
            region_name=region,
        )
        aws = cls(session=session, region=region, endpoint_url=endpoint_url or None)
        return aws.assume(role_arn, external_id) if role_arn else aws

    def assume(self, role_arn: str, external_id: str | None = None, session_name: str = "CatalogAPI") -> Aws:
        """Return this account with ``role_arn`` assumed; botocore renews the credentials before they expire.

        The default session name is that of Amazon's own sample (``catalog_api_invoke``).
        """
        arguments = {"RoleSessionName": session_name, **({"ExternalId": external_id} if external_id else {})}
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=self._client_creator,
            source_credentials=self.session.get_credentials(),
            role_arn=role_arn,
            extra_args=arguments,
        )
        core: Any = botocore.session.get_session()
        # Service models are read and parsed once, not once for each session.
        core.register_component("data_loader", self._loader)
        core._credentials = DeferredRefreshableCredentials(
            refresh_using=fetcher.fetch_credentials, method="assume-role"
        )
        core.set_config_variable("region", self.region)
        return Aws(session=boto3.Session(botocore_session=core), region=self.region, endpoint_url=self.endpoint_url)

    @property
    def _loader(self) -> Any:
        session: Any = self.session
        return session._session.get_component("data_loader")

    def _client_creator(self, service: str, **kwargs: Any) -> Any:
        session: Any = self.session
        return session.client(
            service, region_name=self.region, endpoint_url=self.endpoint_url, config=_CONFIG, **kwargs
        )

    def client(self, service: str) -> Any:
        """Return a boto3 client of ``service``."""
        # At an address of one's own there is no DNS name per bucket.
        config = _CONFIG.merge(Config(s3={"addressing_style": "path"})) if self.endpoint_url else _CONFIG
        return self.session.client(service, region_name=self.region, endpoint_url=self.endpoint_url, config=config)

    def credentials(self) -> Any:
        """Return botocore's credentials object, which renews itself.

        :raises Misconfigured: no credentials were found.
        """
        credentials = self.session.get_credentials()
        if credentials is None:
            raise Misconfigured("no AWS credentials: give the connection a login and password, a role, or a profile")
        return credentials

    def storage_options(self) -> dict[str, str]:
        """Return what ``deltalake`` needs to reach S3 with the credentials of this moment."""
        frozen = self.credentials().get_frozen_credentials()
        options = {
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        }
        if frozen.token:
            options["AWS_SESSION_TOKEN"] = frozen.token
        if self.endpoint_url:
            options |= {
                "AWS_ENDPOINT_URL": self.endpoint_url,
                "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
                "AWS_ALLOW_HTTP": "true" if self.endpoint_url.startswith("http://") else "false",
            }
        return options
