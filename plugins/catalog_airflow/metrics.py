"""The domain's metrics through Airflow's own, to whatever Airflow is configured to send its to."""

from __future__ import annotations

from airflow.sdk.observability import stats

from catalog_sync import metrics


class AirflowMetrics:
    """Airflow's ``stats`` as the domain sees it."""

    def incr(self, stat: str, count: int = 1) -> None:
        """Count something that happened."""
        stats.incr(stat, count)

    def gauge(self, stat: str, value: float) -> None:
        """Say how something stands."""
        stats.gauge(stat, value)


def install() -> None:
    """Let the domain's metrics of this process go to Airflow's."""
    metrics.send_to(AirflowMetrics())
