"""The worker's numbers in Prometheus' text format, on the agent's own port.

Not through Airflow's Stats: a worker is also run without Airflow's statsd, the numbers belong to one worker
and not to the executor, and the rest of this system speaks Prometheus.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_PREFIX = "airflow_ecs_worker"
_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(slots=True)
class Histogram:
    """How long things took, in seconds."""

    help: str
    counts: list[int] = field(default_factory=lambda: [0] * len(_SECONDS))
    total: float = 0.0
    observed: int = 0

    def observe(self, seconds: float) -> None:
        """Count one duration; a clock that went back counts as nothing waited."""
        seconds = max(seconds, 0.0)
        self.total += seconds
        self.observed += 1
        for place, bound in enumerate(_SECONDS):
            if seconds <= bound:
                self.counts[place] += 1

    def lines(self, name: str) -> list[str]:
        """Return it as text."""
        buckets = [
            f'{name}_bucket{{le="{bound:g}"}} {n}' for bound, n in zip(_SECONDS, self.counts, strict=True)
        ]
        return [
            *_head(name, "histogram", self.help),
            *buckets,
            f'{name}_bucket{{le="+Inf"}} {self.observed}',
            f"{name}_sum {self.total!r}",
            f"{name}_count {self.observed}",
        ]


_COUNTERS = {
    "messages_received_total": "Messages received from SQS.",
    "messages_redelivered_total": "Messages that SQS had delivered before, to this or another worker.",
    "messages_given_back_total": "Messages given back to their queue before anything of them began.",
    "give_back_failures_total": "Messages not given back: SQS delivers them after their timeout.",
    "poll_failures_total": "Polls of SQS that failed; each queue is asked again.",
    "protections_confirmed_total": "Scale-in protections that ECS confirmed.",
    "protection_failures_total": "Requests for scale-in protection that were denied or not answered.",
    "tasks_unprotected_total": "Tasks begun without protection because the ECS agent did not answer.",
}


class Metrics:
    """All that the agent counts. Used by the event loop only."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.publish_to_receive = Histogram("From the message's publication until a worker received it.")
        self.receive_to_start = Histogram("From receiving a message until its task began.")

    def count(self, name: str, by: int = 1) -> None:
        """Count something that has a help text.

        Raises:
            KeyError: the name is none of ours.
        """
        _COUNTERS[name]
        self._counts[name] += by

    def render(self, gauges: dict[str, tuple[str, float]]) -> str:
        """Return the text; ``gauges`` are name: (help, value)."""
        lines: list[str] = []
        for name, text in _COUNTERS.items():
            lines += [*_head(f"{_PREFIX}_{name}", "counter", text), f"{_PREFIX}_{name} {self._counts[name]}"]
        lines += self.publish_to_receive.lines(f"{_PREFIX}_publish_to_receive_seconds")
        lines += self.receive_to_start.lines(f"{_PREFIX}_receive_to_start_seconds")
        for name, (text, value) in gauges.items():
            lines += [*_head(f"{_PREFIX}_{name}", "gauge", text), f"{_PREFIX}_{name} {value:g}"]
        return "\n".join([*lines, ""])


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
