"""The only door to logs and metrics: a service's ``events.py`` builds on it, one function per event.

Names follow one rule: ``airflow_ecs_<service>_<noun>_<unit>[_total]``, base units, closed label sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from sidecar.clock import Clock
from sidecar.errors import SidecarError
from sidecar.secrets import mask

_CYCLE_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Telemetry:
    """One process's logger and metrics registry, and what every sidecar tells about its cycles."""

    def __init__(self, *, service: str, version: str, clock: Clock) -> None:
        self.service = service
        self.version = version
        self.log = structlog.get_logger(service).bind(service=service)
        self.registry = CollectorRegistry()
        self._prefix = f"airflow_ecs_{service.replace('-', '_')}_"
        self._clock = clock
        build = Gauge(
            "sidecar_build_info",
            "Always 1; the version is a label",
            ["service", "version"],
            registry=self.registry,
        )
        build.labels(service, version).set(1)
        self._cycles = self.counter("cycles_total", "Cycles by result", ["result"])
        self._duration = self.histogram(
            "cycle_duration_seconds", "How long a cycle took", _CYCLE_BUCKETS_SECONDS
        )
        self._last_success = self.gauge(
            "last_success_timestamp_seconds", "When a cycle last succeeded (Unix time)"
        )
        self._failing = self.gauge("consecutive_failures", "Cycles failed since the last success")

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """Make a counter; ``name`` ends in ``_total``."""
        return Counter(self._prefix + name, meaning, labels, registry=self.registry)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        """Make a gauge; ``name`` ends in its unit."""
        return Gauge(self._prefix + name, meaning, labels, registry=self.registry)

    def histogram(
        self, name: str, meaning: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        """Make a histogram; ``name`` ends in its unit."""
        return Histogram(self._prefix + name, meaning, labels, registry=self.registry, buckets=tuple(buckets))

    # ------------------------------------------------------------ events of the chassis itself

    def started(self, settings: dict[str, str]) -> None:
        """The process begins, with the settings in force."""
        self.log.info("started", version=self.version, settings=settings)

    def stopping(self, reason: str) -> None:
        """The order to finish was given."""
        self.log.info("stopping", why=reason)

    def stopped(self, exit_code: int) -> None:
        """The process ends."""
        self.log.info("stopped", exit_code=exit_code)

    def fatal(self, error: BaseException) -> None:
        """The process cannot go on."""
        self.log.error("fatal", exc_info=_trace(error), **_facts(error))

    def listening(self, host: str, port: int) -> None:
        """``/metrics`` and its neighbours answer."""
        self.log.info("http_listening", host=host, port=port)

    def page_failed(self, path: str, error: BaseException) -> None:
        """A page of the HTTP port could not be made."""
        self.log.warning("page_failed", path=path, exc_info=_trace(error), **_facts(error))

    def succeeded(self, duration_seconds: float) -> None:
        """A cycle ended well (see :class:`sidecar.loop.Listener`)."""
        self._cycles.labels("success").inc()
        self._duration.observe(duration_seconds)
        self._last_success.set(self._clock.now().timestamp())
        self._failing.set(0)

    def failed(self, error: BaseException, *, in_a_row: int, duration_seconds: float) -> None:
        """A cycle failed; it will be tried again (see :class:`sidecar.loop.Listener`)."""
        self._cycles.labels("failure").inc()
        self._duration.observe(duration_seconds)
        self._failing.set(in_a_row)
        self.log.warning("cycle_failed", in_a_row=in_a_row, exc_info=_trace(error), **_facts(error))

    # ------------------------------------------------------------ exposition

    def prometheus(self) -> bytes:
        """Return all metrics in Prometheus text format."""
        return generate_latest(self.registry)

    def emf(self, now: datetime) -> Iterator[str]:
        """Yield all counters and gauges as lines of CloudWatch embedded metric format, 100 metrics a line.

        Histograms are left out: EMF has no cumulative buckets. Labels are folded into the metric's
        name so that the only dimension is ``service``.
        """
        values = {
            "_".join([sample.name, *[value for _, value in sorted(sample.labels.items())]]): sample.value
            for family in self.registry.collect()
            if family.type in ("counter", "gauge")
            for sample in family.samples
            if not sample.name.endswith("_created")
        }
        names = list(values)
        for at in range(0, len(names), _EMF_METRICS_MAX):
            some = names[at : at + _EMF_METRICS_MAX]
            declaration = {
                "Namespace": "AirflowEcs",
                "Dimensions": [["service"]],
                "Metrics": [{"Name": name} for name in some],
            }
            document = {
                "_aws": {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [declaration]},
                "service": self.service,
                **{name: values[name] for name in some},
            }
            yield json.dumps(document)


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
_EMF_METRICS_MAX = 100


def _facts(error: BaseException) -> dict[str, str]:
    if isinstance(error, SidecarError):
        return {"what": mask(error.what), "why": mask(error.why), "to_do": error.remedy}
    return {
        "what": "An unexpected error",
        "why": mask(f"{type(error).__name__}: {error}"),
        "to_do": "Report it",
    }


def _trace(error: BaseException) -> BaseException | None:
    """A known error explains itself; only an unknown one needs its traceback."""
    return None if isinstance(error, SidecarError) else error
