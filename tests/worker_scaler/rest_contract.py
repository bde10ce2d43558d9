"""What the REST source relies on: the same suite for the fake API and for a real api-server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from sidecar.errors import ConfigError
from worker_scaler.sources.rest import RestSource


class Api(Protocol):
    """An API that a test can fill."""

    username: str

    def task(self, state: str, **values: Any) -> object:
        """Let one task instance be there."""


Open = Callable[..., RestSource]


class RestContract:
    """Subclass it with the fixtures ``api`` and ``opened``."""

    def test_nothing_is_an_empty_reading(self, api: Api, opened: Open) -> None:
        read = opened().read()

        assert read.queues == {}
        assert read.is_complete

    def test_tasks_are_counted_by_queue_and_state_with_their_hosts(self, api: Api, opened: Open) -> None:
        minutes_ago = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()  # noqa: TID251 - the machine's own
        api.task("queued", queued_when=minutes_ago)
        api.task("queued", executor="KubernetesExecutor")
        api.task("running", hostname="10.0.0.1", start_date=minutes_ago)
        api.task("running", hostname="10.0.0.1", queue="light")
        api.task("restarting", hostname="10.0.0.2")
        api.task("running", hostname="elsewhere", executor="KubernetesExecutor")
        for state in ("scheduled", "success", "deferred", "up_for_retry"):
            api.task(state)

        read = opened().read()

        heavy = read.queues["heavy"]
        assert (heavy.queued, heavy.running, heavy.restarting) == (1, 1, 1)
        assert heavy.busy_hosts == {"10.0.0.1": 1, "10.0.0.2": 1}
        assert heavy.oldest_queued_age_seconds == pytest.approx(300, abs=60)
        assert set(read.queues) == {"heavy", "light"}
        assert {(task.host, task.queue) for task in read.running_tasks} == {
            ("10.0.0.1", "heavy"),
            ("10.0.0.1", "light"),
            ("10.0.0.2", "heavy"),
        }

    def test_more_than_a_page_is_counted_and_listed(self, api: Api, opened: Open) -> None:
        for number in range(130):
            api.task("queued", executor="KubernetesExecutor" if number < 20 else None)
            api.task("running", hostname=f"10.0.0.{number}")
        api.task("queued", queue="nobody")

        read = opened().read()

        assert read.queues["heavy"].queued == 110
        assert read.queues["heavy"].running == 130
        assert len(read.queues["heavy"].busy_hosts) == 130

    def test_a_wrong_password_is_a_wrong_setting_and_shown_nowhere(self, api: Api, opened: Open) -> None:
        with pytest.raises(ConfigError, match="refused the login") as raised:
            opened(password="wrong-hunter22").read()

        assert "hunter22" not in str(raised.value)
