"""The worker's side of kombu's SQS transport, with the agent between SQS and Celery.

Leans on private parts of kombu 5.7; tests/airflow_side/test_celery_hooks.py guards each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pycurl  # type: ignore[import-untyped]  # of the Airflow image
from kombu.asynchronous.http.curl import CurlClient  # type: ignore[import-not-found]  # the same
from kombu.transport import SQS  # type: ignore[import-not-found]  # the same
from vine import promise  # type: ignore[import-not-found]  # the same

from airflow_ecs.worker_agent.intake import Arrival, Question

if TYPE_CHECKING:
    from airflow_ecs.worker_agent.agent import Agent

_CONNECT_TIMEOUT_SECONDS = 10
_POLL_MARGIN_SECONDS = 15
_MAX_QUEUES = 50


class AgentChannel(SQS.Channel):  # type: ignore[misc]  # kombu has no types
    """Asks SQS what the agent allows, and gives the agent what comes."""

    agent: Agent

    def _schedule_queue(self, queue: str) -> None:
        """Ask a queue, or leave it parked with the agent. Kombu calls this when a queue's turn has come."""
        if queue not in self._active_queues:
            return
        question = self.agent.ask(queue, queues=len(self._active_queues))
        if question is not None:
            self._open_poll(queue, question)

    def _open_poll(self, queue: str, question: Question) -> None:
        name = self.canonical_queue_name(queue)
        try:
            url = self._new_queue(queue)
            self.asynsqs(queue=name).receive_message(
                name,
                url,
                number_messages=question.count,
                wait_time_seconds=question.wait_seconds,
                callback=promise(self._poll_ended, (queue, url), on_error=self._poll_broke),
            )
        except Exception as err:  # noqa: BLE001  # signing or credentials: the next attempt may find them
            self._poll_broke(queue, "", err)

    def _poll_ended(self, queue: str, url: str, answer: Any) -> None:
        # Kombu hands over an empty list in place of an answer when SQS was unavailable.
        if not isinstance(answer, dict):
            self._poll_broke(queue, url, "SQS was unavailable, or did not answer in time")
            return
        self.hub.call_soon(self._schedule_queue, queue)
        self.agent.arrived(queue, url, answer.get("Messages") or [])

    def _poll_broke(self, queue: str, _url: str, why: object) -> None:
        self.hub.call_soon(self._schedule_queue, queue)
        self.agent.poll_failed(queue, str(why))

    def begin(self, arrival: Arrival) -> None:
        """Hand a message to Celery, as kombu would have when it came."""
        callback = self.connection._callbacks[arrival.queue]  # noqa: SLF001  # kombu's own way, see _on_messages_ready
        callback(self._message_to_python(arrival.message, arrival.queue, arrival.url))

    @property
    def unacknowledged(self) -> int:
        """Messages Celery has and has not acknowledged."""
        qos = self.qos
        return len(qos._delivered) - len(qos._dirty)  # noqa: SLF001  # as QoS.can_consume counts


class PatientCurl(CurlClient):  # type: ignore[misc]  # kombu has no types
    """Kombu's HTTP client with deadlines: a connection that a NAT gateway forgot would else stay open."""

    poll_seconds = 20

    def _setup_request(self, curl: Any, request: Any, buffer: Any, headers: Any) -> None:
        super()._setup_request(curl, request, buffer, headers)
        curl.setopt(pycurl.CONNECTTIMEOUT, _CONNECT_TIMEOUT_SECONDS)
        curl.setopt(pycurl.TIMEOUT, self.poll_seconds + _POLL_MARGIN_SECONDS)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)


def transport_for(agent: Agent) -> type[SQS.Transport]:
    """Return a transport whose channels belong to an agent."""
    channel = type("AgentChannel", (AgentChannel,), {"agent": agent})
    return type("AgentTransport", (SQS.Transport,), {"Channel": channel})


def install_http_client(hub: Any, *, poll_seconds: int) -> None:
    """Put the HTTP client with deadlines in the place of kombu's, with room for a poll of each queue."""
    before = getattr(hub, "_current_http_client", None)
    if before is not None:
        before.close()
    client = PatientCurl(hub, max_clients=_MAX_QUEUES)
    client.poll_seconds = poll_seconds
    hub._current_http_client = client  # noqa: SLF001  # where kombu.asynchronous.http.get_client looks
