from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from local_ecs import lifecycle
from local_ecs.model import Container, LastStatus, StopCode, Task

from .builders import NOON, a_task

MAIN = Container(name="main", image="", essential=True)
HELPER = Container(name="helper", image="", essential=False)


def test_a_task_waits_for_its_network_then_for_its_image_then_starts() -> None:
    task = replace(
        a_task(status=LastStatus.PROVISIONING),
        pending_due_at=NOON + timedelta(seconds=2),
        start_due_at=NOON + timedelta(seconds=10),
    )
    assert lifecycle.pulled(task, NOON) is task
    pending = lifecycle.pulled(task, NOON + timedelta(seconds=3))
    assert (pending.last_status, pending.pull_started_at) == (LastStatus.PENDING, NOON + timedelta(seconds=2))
    assert not lifecycle.may_launch(pending, NOON + timedelta(seconds=9))
    assert lifecycle.may_launch(pending, NOON + timedelta(seconds=10))


def test_a_task_that_never_started_ends_at_once() -> None:
    stopped = lifecycle.stopping(a_task(status=LastStatus.PENDING), StopCode.USER, "enough", NOON)
    assert (stopped.last_status, stopped.stopped_at, stopped.stop_code) == (
        LastStatus.STOPPED,
        NOON,
        StopCode.USER,
    )


def test_a_running_task_is_deactivated_then_stopping_then_stopped() -> None:
    deactivating = lifecycle.stopping(a_task(), StopCode.SCHEDULER, "why", NOON)
    stopping = lifecycle.signalled(deactivating)
    stopped = lifecycle.container_exited(stopping, "main", 0, NOON + timedelta(seconds=1))
    assert [deactivating.last_status, stopping.last_status, stopped.last_status] == [
        LastStatus.DEACTIVATING,
        LastStatus.STOPPING,
        LastStatus.STOPPED,
    ]
    assert (stopped.stop_code, stopped.containers[0].exit_code) == (StopCode.SCHEDULER, 0)


def test_the_first_reason_to_stop_is_kept() -> None:
    first = lifecycle.stopping(a_task(), StopCode.SCHEDULER, "scaling", NOON)
    assert lifecycle.stopping(first, StopCode.USER, "later", NOON) is first


def test_an_essential_container_takes_the_others_with_it() -> None:
    both = a_task(containers=(MAIN, HELPER))
    after = lifecycle.container_exited(both, "main", 1, NOON)
    assert (after.wanted, after.stop_code, after.last_status) == (
        False,
        StopCode.ESSENTIAL_EXITED,
        LastStatus.DEACTIVATING,
    )
    assert lifecycle.container_exited(after, "helper", 143, NOON).last_status is LastStatus.STOPPED


def test_a_container_that_is_not_essential_may_end() -> None:
    after = lifecycle.container_exited(a_task(containers=(MAIN, HELPER)), "helper", 0, NOON)
    assert (after.wanted, after.last_status) == (True, LastStatus.RUNNING)


def test_a_task_that_cannot_start_says_why_on_itself_and_its_containers() -> None:
    task: Task = replace(a_task(status=LastStatus.PENDING), launched=True)
    failed = lifecycle.failed_to_start(task, "CannotPullContainerError: no", NOON)
    assert (failed.last_status, failed.stop_code) == (LastStatus.STOPPED, StopCode.FAILED_TO_START)
    assert failed.stopped_reason == failed.containers[0].reason == "CannotPullContainerError: no"


def test_what_is_reported_after_the_end_changes_nothing() -> None:
    stopped = lifecycle.container_exited(a_task(), "main", 0, NOON)
    assert lifecycle.container_exited(stopped, "main", 137, NOON) is stopped
    assert lifecycle.failed_to_start(stopped, "late", NOON) is stopped


def test_every_change_makes_a_new_version() -> None:
    task = a_task()
    assert lifecycle.stopping(task, StopCode.USER, "why", NOON).version > task.version
