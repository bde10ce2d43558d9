from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from local_ecs.failures import forgive, note_end
from local_ecs.model import RolloutPolicy, RolloutState, Rules, Service, StopCode, Task

from .builders import NOON, a_service, a_task

RULES = Rules(immediate_retries=2, backoff_base_seconds=5, backoff_max_seconds=60, fast_failure_seconds=10)


def ended(task: Task, *, ran_seconds: float, code: StopCode = StopCode.ESSENTIAL_EXITED) -> Task:
    return replace(task, stop_code=code, stopping_at=task.created_at + timedelta(seconds=ran_seconds))


def after_crashes(count: int) -> tuple[Service, datetime]:
    """Return a service whose task crashed ``count`` times, each started after the crash before."""
    service, now = a_service(1), NOON
    for _ in range(count):
        crashed = ended(replace(a_task(), created_at=now, started_at=now), ran_seconds=1)
        now += timedelta(seconds=1)
        service, _ = note_end(service, crashed, now=now, rules=RULES)
    return service, now


def test_the_first_failures_are_replaced_at_once() -> None:
    assert after_crashes(2)[0].retry_at is None


def test_further_failures_double_the_pause_up_to_a_limit() -> None:
    pauses = []
    for count in (3, 4, 5, 50):
        service, now = after_crashes(count)
        assert service.retry_at is not None
        pauses.append((service.retry_at - now).total_seconds())
    assert pauses == [5, 10, 20, 60]


def test_a_service_that_cannot_start_its_tasks_says_so() -> None:
    service, now = after_crashes(2)
    crashed = ended(replace(a_task(), created_at=now, started_at=now), ran_seconds=1)
    _, messages = note_end(service, crashed, now=now, rules=RULES)
    assert messages[0].startswith("is unable to consistently start tasks successfully.")


def test_tasks_of_one_wave_count_once() -> None:
    service = a_service(20)
    for number in range(20):
        crashed = ended(a_task(f"t{number}", created_seconds_ago=1), ran_seconds=0.5)
        service, _ = note_end(service, crashed, now=NOON, rules=RULES)
    assert service.consecutive_failures == 1


def test_a_task_that_ran_long_or_was_stopped_is_no_failure() -> None:
    service = a_service(1)
    for task in (
        ended(a_task(), ran_seconds=11),
        ended(a_task(), ran_seconds=1, code=StopCode.USER),
        ended(a_task(), ran_seconds=1, code=StopCode.SCHEDULER),
        ended(a_task(), ran_seconds=1, code=StopCode.SPOT),
    ):
        assert note_end(service, task, now=NOON, rules=RULES) == (service, ())


def test_failures_are_forgiven_once_a_later_task_stays_up() -> None:
    service, now = after_crashes(5)
    later = replace(a_task(), created_at=now, started_at=now)
    assert forgive(service, [later], now=now + timedelta(seconds=9), rules=RULES) == service
    forgiven = forgive(service, [later], now=now + timedelta(seconds=10), rules=RULES)
    assert (forgiven.consecutive_failures, forgiven.retry_at) == (0, None)


def test_a_task_from_before_the_failures_proves_nothing() -> None:
    service, now = after_crashes(5)
    old = replace(a_task(), created_at=NOON - timedelta(days=1), started_at=NOON - timedelta(days=1))
    assert forgive(service, [old], now=now, rules=RULES) == service


def test_the_circuit_breaker_opens_after_three_failed_tasks_of_a_small_service() -> None:
    service = a_service(2, rollout=RolloutPolicy(circuit_breaker=True), is_rolling=True)
    for number in range(3):
        crashed = ended(a_task(f"t{number}"), ran_seconds=0, code=StopCode.FAILED_TO_START)
        service, messages = note_end(service, crashed, now=NOON, rules=RULES)
    assert service.primary.rollout_state is RolloutState.FAILED
    assert messages == (f"(deployment {service.primary.id}) deployment failed: tasks failed to start.",)


def test_without_a_circuit_breaker_failures_are_only_counted() -> None:
    service = a_service(2, is_rolling=True)
    for number in range(9):
        crashed = ended(a_task(f"t{number}"), ran_seconds=0, code=StopCode.FAILED_TO_START)
        service, _ = note_end(service, crashed, now=NOON, rules=RULES)
    assert (service.primary.failed_tasks, service.primary.rollout_state) == (9, RolloutState.IN_PROGRESS)
