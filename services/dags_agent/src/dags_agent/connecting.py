"""The source that the settings name, opened."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Source, connect
from sidecar.app import Runtime


def connect_source(
    runtime: Runtime, settings: DagsAgentSettings, *, connections: int
) -> AbstractAsyncContextManager[Source]:
    """Open the source that the settings name; see :func:`dags_agent.source.connect`."""
    return connect(
        runtime.aws,
        settings.source_url,
        connections=connections,
        clock=runtime.clock,
        stop=runtime.stop,
        rng=runtime.rng,
        client=settings.s3_client,
    )
