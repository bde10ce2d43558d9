"""Settings for the commands of a CI job, which has no target mounted."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from dags_agent.settings import DagsAgentSettings


class DeploySettings(DagsAgentSettings):
    """As the agent's, and nothing is required: ``publish`` and ``wait`` are told on the command line."""

    source: str = Field(default="", description="Not used here")
    target: Path = Field(
        default=Path(), description="Where `wait` reads the live release, unless it has a URL"
    )

    @field_validator("source")
    @classmethod
    def _source_is_an_s3_url(cls, text: str) -> str:
        return text
