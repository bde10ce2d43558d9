"""Print, as JSON, whether each place of Celery, kombu and the provider is as airflow_ecs has read it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from celery.app.defaults import NAMESPACES  # type: ignore[import-not-found]  # the same
from celery.apps import worker as apps_worker  # type: ignore[import-not-found]  # the same
from celery.worker import components, loops, request, state, strategy  # type: ignore[import-not-found]  # the same
from celery.worker.consumer import consumer  # type: ignore[import-not-found]  # the same
from kombu import Connection  # type: ignore[import-not-found]  # the same
from kombu.asynchronous import http, hub  # type: ignore[import-not-found]  # the same
from kombu.asynchronous.aws.connection import AsyncAWSQueryConnection  # type: ignore[import-not-found]  # the same
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection  # type: ignore[import-not-found]  # the same
from kombu.asynchronous.http.curl import CurlClient  # type: ignore[import-not-found]  # the same
from kombu.transport import SQS, virtual  # type: ignore[import-not-found]  # the same


def source(of: Any) -> str:
    """Return a source text, with each run of white space as one blank."""
    return re.sub(r"\s+", " ", inspect.getsource(of))


def arguments(of: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters."""
    return list(inspect.signature(of).parameters)


HOOKS: dict[str, Callable[[], bool]] = {
    "worker_consumer chooses the consumer": lambda: (
        "consumer" in NAMESPACES["worker"] and "w.consumer_cls" in source(components.Consumer.create)
    ),
    "a consumer with a loop of its own keeps it": lambda: (
        "if not hasattr(self, 'loop')" in source(consumer.Consumer)
    ),
    "the loop gets its parts from loop_args": lambda: (
        "c.loop(*c.loop_args())" in source(consumer.Evloop.start)
        and arguments(loops.asynloop)[:3] == ["obj", "connection", "consumer"]
    ),
    "the loop ends by maybe_shutdown, and does not reset the hub then": lambda: (
        "state.maybe_shutdown()" in source(loops.asynloop)
        and "except Exception: " in source(loops.asynloop)
        and issubclass(state.WorkerShutdown, SystemExit)
        and issubclass(state.WorkerTerminate, SystemExit)
    ),
    "SIGTERM sends worker_shutting_down before the loop ends": lambda: (
        "signals.worker_shutting_down.send("
        in source(apps_worker._shutdown_handler).partition("setattr(state")[0]
    ),
    "connect() takes connection_for_read, which ensures the connection": lambda: (
        "self.connection_for_read(" in source(consumer.Consumer.connect)
        and "self.ensure_connected( self.app.connection_for_read(heartbeat=heartbeat))"
        in source(consumer.Consumer.connection_for_read)
    ),
    "on_task_message callbacks get the request before the pool": lambda: (
        "[callback(req) for callback in callbacks] handle(req)" in source(strategy.default)
    ),
    "reserved requests stay until ready": lambda: (
        "discard_reserved_request(request)" in source(state.task_ready)
        and "add_reserved_request(request)" in source(state.task_reserved)
    ),
    "time_start is wall clock, set when the pool accepted": lambda: (
        "self.time_start = time() - (monotonic() - time_accepted)" in source(request.Request.on_accepted)
    ),
    "a connection's transport_cls may be a class": lambda: (
        "isinstance(transport_cls, str)" in source(Connection.get_transport_cls)
    ),
    "a transport makes channels of its Channel": lambda: (
        "self.Channel(connection)" in source(virtual.Transport.create_channel)
    ),
    "kombu asks a queue through _schedule_queue": lambda: (
        "self.hub.call_soon(self._schedule_queue, queue)" in source(SQS.Channel.basic_consume)
        and arguments(SQS.Channel._schedule_queue) == ["self", "queue"]
    ),
    "a receive is a promise of the parsed answer, or of a list when unavailable": lambda: (
        "return []" in source(AsyncAWSQueryConnection._on_list_ready)
        and {"number_messages", "wait_time_seconds", "callback"}
        <= set(arguments(AsyncSQSConnection.receive_message))
    ),
    "a message is handed over as callback(_message_to_python(msg, name, url))": lambda: (
        "callback = self.connection._callbacks.get(qname)" in source(SQS.Channel._on_messages_ready)
        and "self._message_to_python(msg, qname, queue)" in source(SQS.Channel._on_messages_ready)
    ),
    "unacknowledged is delivered less dirty": lambda: (
        "len(self._delivered) - len(self._dirty)" in source(virtual.QoS.can_consume)
    ),
    "the hub's HTTP client is _current_http_client": lambda: (
        "hub._current_http_client" in source(http.get_client)
    ),
    "kombu's curl still sets no deadline": lambda: "pycurl.TIMEOUT" not in source(CurlClient._setup_request),
    "call_soon wakes the hub from other threads": lambda: "waker.wake()" in source(hub.Hub.call_soon),
    "a hub that is reset is no longer current, and a channel takes the current one": lambda: (
        "set_event_loop(None)" in source(hub.Hub._close)
        and "get_event_loop()" in source(SQS.Channel.__init__)
    ),
    "on_tick is called at every turn": lambda: (
        "for tick_callback in copy(self.on_tick)" in source(hub.Hub.create_loop)
    ),
    "a rejected message is deleted unless there is a redrive policy": lambda: (
        "_has_redrive_policy" in source(SQS.Channel._delete_rejected_message)
    ),
}

print(  # noqa: T201  # this is what it is for
    json.dumps({name: hook() for name, hook in HOOKS.items()})
)
