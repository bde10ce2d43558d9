"""The agents in the workers, over HTTP (docs/adr/0004).

One request per worker and tick: the order in force is given again, and the answer is the worker's state. A
worker that was given none yet is only asked, so a scaler that starts disturbs nobody. No answer is no state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http import HTTPStatus

import urllib3

from sidecar.clock import Clock, SystemClock
from sidecar.secrets import Secret
from worker_scaler.agent import HOLDER, ORDER_SECONDS, AgentState, Order, parse
from worker_scaler.model import Fleet, Worker

DEADLINE_SECONDS = 1.0
"""A worker in the same VPC answers in milliseconds; one that takes longer is asked again in the next tick."""

CONCURRENT_REQUESTS = 32
ANSWER_BYTES_MAX = 65_536
_CHUNK_BYTES = 8_192

_EXCHANGE_SECONDS = 2 * DEADLINE_SECONDS
"""One deadline for the head of an answer, one for its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came back from a fleet's agents, by task ARN.

    Attributes:
        states: of those that answered.
        failures: why the others' answers say nothing.
    """

    states: Mapping[str, AgentState] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


class HttpAgents:
    """Implements :class:`worker_scaler.ports.Agents`. Blocking, and safe to call from any thread.

    Args:
        token: what the agents ask for; None when they ask for nothing.
        clock: measures how long an answer takes; None is the machine's.
    """

    def __init__(self, token: Secret | None, *, clock: Clock | None = None) -> None:
        self._token = token
        self._clock = clock or SystemClock()
        self._under_way: set[str] = set()
        self._orders: dict[str, dict[str, Order]] = {}
        self._threads = ThreadPoolExecutor(max_workers=CONCURRENT_REQUESTS, thread_name_prefix="agents")
        self._pools = urllib3.PoolManager(
            num_pools=1000,  # one per worker: connections are kept from tick to tick
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(total=DEADLINE_SECONDS),
        )

    def ask(self, fleet: Fleet, workers: Sequence[Worker]) -> Answers:
        """Repeat each worker's order, or ask a worker that has none yet (see the port)."""
        given = self._orders.get(fleet.name, {})
        self._orders[fleet.name] = {
            worker.arn: given[worker.arn] for worker in workers if worker.arn in given
        }
        return self._all(fleet, [(worker, given.get(worker.arn)) for worker in workers])

    def order(self, fleet: Fleet, workers: Sequence[Worker], order: Order) -> Answers:
        """Give an order (see the port)."""
        answers = self._all(fleet, [(worker, order) for worker in workers])
        self._orders.setdefault(fleet.name, {}).update(dict.fromkeys(answers.states, order))
        return answers

    def _all(self, fleet: Fleet, requests: Iterable[tuple[Worker, Order | None]]) -> Answers:
        """Ask all at once; wait for none beyond its deadline, and ask none that still sends its last one."""
        states: dict[str, AgentState] = {}
        failures: dict[str, str] = {}
        pending: dict[Future[AgentState], str] = {}
        for worker, order in requests:
            if worker.arn in self._under_way:
                failures[worker.arn] = "it still sends its last answer"
                continue
            self._under_way.add(worker.arn)
            pending[self._threads.submit(self._exchange, fleet, worker, order)] = worker.arn
        rounds = math.ceil(len(pending) / CONCURRENT_REQUESTS)
        done, late = wait(pending, timeout=_EXCHANGE_SECONDS * rounds)
        for asked in late:
            if asked.cancel():
                self._under_way.discard(pending[asked])  # it was not even asked
            failures[pending[asked]] = f"no whole answer within {_EXCHANGE_SECONDS:g} s"
        for asked in done:
            try:
                states[pending[asked]] = asked.result()
            except Exception as err:  # noqa: BLE001 - whatever one agent answers is that agent's failure
                failures[pending[asked]] = str(err) or type(err).__name__
        return Answers(states=states, failures=failures)

    def _exchange(self, fleet: Fleet, worker: Worker, order: Order | None) -> AgentState:
        try:
            return self._ask_one(fleet, worker, order)
        finally:
            self._under_way.discard(worker.arn)

    def _ask_one(self, fleet: Fleet, worker: Worker, order: Order | None) -> AgentState:
        """Ask one worker, with the token read anew once when it is refused."""
        if not worker.addresses:
            raise ValueError("ECS tells no address of it")
        base = f"http://{_host(worker.addresses[0])}:{fleet.agent_port}"
        answer = self._send(base, order)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._token is not None and self._token.refresh():
            self._body(answer)
            answer = self._send(base, order)
        body = self._body(answer)
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"its agent answered {answer.status}")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("its agent answered no JSON object")  # noqa: TRY004 - the answer, not our types
        return parse(document, arn=worker.arn)

    def _send(self, base: str, order: Order | None) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.value()}"
        if order is None:
            return self._pools.request("GET", f"{base}/v1/worker", headers=headers, preload_content=False)
        body = {"order": order.value, "expires_seconds": int(ORDER_SECONDS), "holder": HOLDER}
        return self._pools.request(
            "PUT", f"{base}/v1/order", headers=headers, json=body, preload_content=False
        )

    def _body(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """Read an answer as far as it comes in time: a timeout of urllib3's is for each piece of it."""
        until = self._clock.monotonic() + DEADLINE_SECONDS
        body = b""
        while piece := answer.read1(_CHUNK_BYTES):
            body += piece
            if len(body) > ANSWER_BYTES_MAX or self._clock.monotonic() > until:
                answer.close()
                raise ValueError(f"no whole answer of at most {ANSWER_BYTES_MAX} bytes in time")
        answer.release_conn()
        return body


class DryRunAgents:
    """Implements :class:`worker_scaler.ports.Agents` with GET only: nobody is given an order."""

    def __init__(self, ask: Callable[[Fleet, Sequence[Worker]], Answers]) -> None:
        self._ask = ask

    def ask(self, fleet: Fleet, workers: Sequence[Worker]) -> Answers:
        """Ask each worker how it is."""
        return self._ask(fleet, workers)

    def order(self, fleet: Fleet, workers: Sequence[Worker], order: Order) -> Answers:
        """Do nothing: an order that is not given is not followed, and so nobody is released in a dry run."""
        del fleet, workers, order
        return Answers()


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
