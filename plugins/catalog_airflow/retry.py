"""Retries by what went wrong: the classes of ``catalog_sync.errors`` say what the caller should do next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from catalog_sync.errors import CatalogSyncError, RetryLater


class ByRecovery(RetryPolicy):
    """Retries ``RetryLater`` after the delay it asks for, never retries our other errors, leaves the rest to the task.

    What is not ours (a lost worker, an S3 time-out) follows the task's own ``retries`` and ``retry_delay``. A policy
    cannot exceed ``retries``.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return what to do after ``exception``."""
        if isinstance(exception, RetryLater):
            delay = None if exception.after is None else timedelta(seconds=max(exception.after, 1.0))
            return RetryDecision.retry(delay, reason="the same call may work later")
        if isinstance(exception, CatalogSyncError):
            return RetryDecision.fail(reason=f"{type(exception).__name__}: a retry cannot help")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the policy as JSON; it has no settings."""
        return {"__type": type(self).__name__}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ByRecovery:
        """Return the policy of its JSON."""
        return cls()
