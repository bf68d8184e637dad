"""The domain's metrics and spans through Airflow's own, to whatever Airflow is configured to send its to."""

from __future__ import annotations

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats

from catalog_sync import metrics, tracing

#: Any of these options of ``[metrics]`` makes Airflow send its metrics.
_SWITCHES = ("statsd_on", "statsd_datadog_enabled", "otel_on")


class AirflowMetrics:
    """Airflow's ``stats`` as the domain sees it."""

    def incr(self, stat: str, count: int) -> None:
        """Count something that happened."""
        stats.incr(stat, count)

    def gauge(self, stat: str, value: float) -> None:
        """Say how something stands."""
        stats.gauge(stat, value)

    def timing(self, stat: str, milliseconds: float) -> None:
        """Say how long something took."""
        stats.timing(stat, milliseconds)


def install() -> None:
    """Let the domain's metrics and spans of this process go to Airflow's, if Airflow sends any."""
    if not metrics.wanted() and any(conf.getboolean("metrics", switch) for switch in _SWITCHES):
        _install_metrics()
    if conf.getboolean("traces", "otel_on"):
        from opentelemetry import trace

        tracing.trace_with(trace.get_tracer("catalog_sync"))


def _install_metrics() -> None:
    from airflow.sdk.observability.metrics import stats_utils

    # A task's process has done so. The triggerer's has not: it initialises its own copy of the module only.
    stats.initialize(
        factory=stats_utils.get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on")
    )
    metrics.send_to(AirflowMetrics())
