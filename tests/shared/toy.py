"""The smallest sidecar there can be: what the chassis tests run, also as a real process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from sidecar import cli
from sidecar.app import Finding, Runtime, Sidecar
from sidecar.errors import ConfigError
from sidecar.http import Answer
from sidecar.loop import Pace
from sidecar.settings import JsonList, SidecarSettings


class ToySettings(SidecarSettings):
    model_config = SettingsConfigDict(env_prefix="TOY_")

    target: str = Field(description="What to greet")
    interval_seconds: float = Field(default=0.05, gt=0, description="Pause between greetings")
    names: JsonList = Field(default=[], min_length=1, description="More to greet")
    token: SecretStr | None = Field(default=None, min_length=6, description="A secret")


class Toy:
    def __init__(self, settings: ToySettings, runtime: Runtime) -> None:
        self.settings = settings
        self.runtime = runtime

    async def run(self) -> int:
        if self.settings.target == "blocked":
            self.runtime.telemetry.log.info("blocked")
            await asyncio.to_thread(threading.Event().wait, 3600)
        if self.settings.target == "hung mount":
            self._hang()
            return 0
        if self.settings.target == "deaf":
            await self.runtime.clock.wait(3600, type(self.runtime.stop)().event)
        pace = Pace(period_seconds=self.settings.interval_seconds, deadline_seconds=5)
        await self.runtime.every(pace, self._tick)
        return 0

    def _hang(self) -> None:
        """Leave a thread of an executor of our own behind, as a look at a mount that does not answer does."""
        ThreadPoolExecutor(1).submit(threading.Event().wait, 3600)
        self.runtime.telemetry.log.info("hangs")

    async def once(self) -> int:
        await self._tick()
        return 0

    async def check(self) -> AsyncIterator[Finding]:
        if self.settings.target == "no region":
            self.runtime.aws.session.client("sqs")
        if self.settings.target == "leaky":
            raise ZeroDivisionError("a bug that quotes hunter22")
        if self.settings.target == "nobody":
            yield Finding(what="target", verdict="problem", why="nobody is there", remedy="Set TOY_TARGET")
        else:
            yield Finding(what="target", verdict="ok", why=self.settings.target)

    async def _tick(self) -> None:
        if self.settings.target == "nobody":
            raise ConfigError("Cannot greet", why="nobody is there", remedy="Set TOY_TARGET")
        if self.settings.target == "bug":
            raise ZeroDivisionError("a bug that quotes hunter22")
        token = self.settings.token.get_secret_value() if self.settings.token else ""
        if "loud" in self.runtime.flags:
            self.runtime.telemetry.log.info("shouted")
        facts = {"target": self.settings.target, "with_token": token, "deep": [{"token": token}]}
        self.runtime.telemetry.log.info("greeted", **facts)


def _broken_page() -> Answer:
    raise ZeroDivisionError("a page with a bug")


def wire(settings: ToySettings, runtime: Runtime) -> Toy:
    runtime.route("/broken", _broken_page)
    if settings.token:
        runtime.secret(literal=settings.token.get_secret_value())
    return Toy(settings, runtime)


TOY = Sidecar(
    name="sidecar",
    summary="Greets.",
    settings=ToySettings,
    wire=wire,
    can_dry_run=True,
    once_flags={"loud": "greet in capitals"},
)

if __name__ == "__main__":
    sys.exit(cli.main(TOY))
