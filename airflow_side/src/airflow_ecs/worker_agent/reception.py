"""Where other threads ask the agent: each question is answered in the worker's event loop, at one instant."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TypeVar

from airflow_ecs.worker_agent import orders
from airflow_ecs.worker_agent.agent import Agent
from airflow_ecs.worker_agent.http_server import BusyError

LOOP_ANSWER_SECONDS = 2.0

_T = TypeVar("_T")


class Reception:
    """An ``http_server.Worker``.

    Args:
        agent: who answers.
        call_soon: runs something in the event loop; may be called from any thread.
    """

    def __init__(self, agent: Agent, *, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._agent = agent
        self._call_soon = call_soon

    def state_document(self) -> dict[str, object]:
        """Return the state as JSON.

        Raises:
            BusyError: the event loop did not answer in time, or the task does not know itself yet.
        """
        return self._in_loop(self._document)

    def take_order(self, request: orders.OrderRequest) -> dict[str, object]:
        """Put an order into force, and return the state after that.

        Raises:
            BusyError: as above; then the order may or may not be in force.
        """

        def take() -> dict[str, object]:
            self._agent.take_order(request)
            return self._document()

        return self._in_loop(take)

    def metrics_text(self) -> str:
        """Return the metrics.

        Raises:
            BusyError: the event loop did not answer in time.
        """
        return self._in_loop(self._render)

    def _document(self) -> dict[str, object]:
        if not self._agent.knows_its_task:
            raise BusyError("the ECS metadata endpoint has not told yet which task this is")
        return self._agent.state().to_json()

    def _render(self) -> str:
        state = self._agent.state()
        return self._agent.metrics.render(
            {
                "active_tasks": ("Tasks being executed.", state.load.active_tasks),
                "reserved_messages": ("Messages received and not begun.", state.load.reserved_messages),
                "open_polls": ("Questions to SQS that have not come back.", state.load.open_polls),
                "protected_until_timestamp_seconds": (
                    "End of the scale-in protection; 0 when there is none, or unknown.",
                    state.protected_until or 0,
                ),
                "takes_work": (
                    "1 while the worker takes messages, 0 while cordoned or stopping.",
                    state.phase == "working",
                ),
            }
        )

    def _in_loop(self, ask: Callable[[], _T]) -> _T:
        if self._agent.loop_has_ended:
            return ask()
        answer: concurrent.futures.Future[_T] = concurrent.futures.Future()

        def run() -> None:
            try:
                answer.set_result(ask())
            except Exception as err:  # noqa: BLE001  # handed to the thread that waits
                answer.set_exception(err)

        self._call_soon(run)
        try:
            return answer.result(LOOP_ANSWER_SECONDS)
        except concurrent.futures.TimeoutError:
            raise BusyError(f"the event loop did not answer within {LOOP_ANSWER_SECONDS:g} s") from None
