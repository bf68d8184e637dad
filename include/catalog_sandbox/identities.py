"""Whose access key is this: a static one from the configuration, or a role's session from the sandbox's STS."""

from __future__ import annotations

from datetime import UTC

from catalog_sandbox.config import SandboxConfig
from catalog_sandbox.signature import Forbidden, Identity


class Identities:
    """Looks access keys up and says which accounts and roles are allowlisted."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config

    def lookup(self, key: str) -> Identity | None:
        """Return the identity behind an access key id, or None when nobody has it."""
        for account, settings in self._config.accounts.items():
            if key in settings.keys:
                return Identity(account, f"arn:aws:iam::{account}:user/sandbox", settings.keys[key])
        return _session(key)

    def admit(self, identity: Identity) -> None:
        """Raise Forbidden unless the account is allowlisted and its role may call the API (``catalog_faq``)."""
        settings = self._config.accounts.get(identity.account)
        if settings is None or (identity.role is not None and identity.role not in settings.roles):
            hidden = f"********{identity.account[-4:]}"
            resource = f"arn:aws:execute-api:{self._config.region}:{hidden}:sandbox/*"
            raise Forbidden(
                f"User: {identity.arn} is not authorized to perform: execute-api:Invoke on resource: {resource}"
            )


def _session(key: str) -> Identity | None:
    """Return a session of moto's STS. Its API does not tell secrets, so its backend is read directly."""
    from moto.sts.models import sts_backends

    for account in list(sts_backends):
        role = sts_backends[account]["aws"].get_assumed_role_from_access_key(key)
        if role is not None:
            return Identity(
                account=role.account_id,
                arn=role.arn,
                secret=role.secret_access_key,
                role=role.role_arn.rsplit("/", 1)[-1],
                token=role.session_token,
                expires=role.expiration.replace(tzinfo=UTC).timestamp(),
            )
    return None
