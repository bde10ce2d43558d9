from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from local_ecs.model import LastStatus, Task
from local_ecs.protection import Refusal, Refused, protect, refuse_read, release

from .builders import NOON, a_service, a_task


def test_a_protected_task_is_protected_until_it_expires() -> None:
    task = protect(a_task(), a_service(1), [], minutes=30, now=NOON)
    assert isinstance(task, Task)
    assert task.is_protected(NOON + timedelta(minutes=29, seconds=59))
    assert not task.is_protected(NOON + timedelta(minutes=30))


def test_protecting_again_starts_the_time_anew() -> None:
    task = a_task(protected_minutes=1)
    renewed = protect(task, a_service(1), [task], minutes=60, now=NOON)
    assert isinstance(renewed, Task)
    assert renewed.protected_until == NOON + timedelta(hours=1)


def test_more_protected_tasks_than_the_desired_count_are_refused() -> None:
    other = a_task("other", protected_minutes=30)
    refused = protect(a_task("one"), a_service(1), [other, a_task("one")], minutes=30, now=NOON)
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.BLOCKED


def test_a_renewal_is_refused_when_the_count_was_lowered_below_what_is_protected() -> None:
    tasks = [a_task(name, protected_minutes=30) for name in "abc"]
    refused = protect(tasks[0], a_service(2), tasks, minutes=60, now=NOON)
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.BLOCKED


@pytest.mark.parametrize(
    "gone", [a_task("b", protected_minutes=-1), a_task("b", status=LastStatus.STOPPING, protected_minutes=30)]
)
def test_expired_and_stopping_tasks_do_not_count_as_protected(gone: Task) -> None:
    assert isinstance(protect(a_task("a"), a_service(1), [gone], minutes=1, now=NOON), Task)


def test_protection_can_always_be_taken_off() -> None:
    released = release(a_task(protected_minutes=30))
    assert not released.is_protected(NOON)
    assert release(released) == released


def test_only_running_tasks_of_services_have_a_protection() -> None:
    assert refuse_read(a_task()) is None
    reasons = [
        refused.reason if refused else None
        for refused in (
            refuse_read(None),
            refuse_read(replace(a_task(), service=None)),
            refuse_read(a_task(status=LastStatus.STOPPED)),
        )
    ]
    assert reasons == [Refusal.MISSING, Refusal.NOT_VALID, Refusal.NOT_VALID]
