"""How other packages find these judges: by the entry-point group `wideseek.judges`."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from pydantic import JsonValue

from wideseek_core.config import Config, validate
from wideseek_core.scores import Judge
from wideseek_judge.config import JudgeConfig
from wideseek_judge.judge import open_judge


class _Settings(Config):
    """The settings where their user wrote them, so that a message names the whole key."""

    judge: JudgeConfig


@asynccontextmanager
async def open_named(
    mode: str, judge: str, settings: Mapping[str, JsonValue] | None = None
) -> AsyncGenerator[Judge]:
    """The judge of that kind and mode.

    The settings are those of `JudgeConfig`: `{"endpoint": {"base_url": URL}}`. Raises
    `ConfigError`.
    """
    raw = {**(settings or {}), "mode": mode, "kind": judge}
    config = validate(_Settings, {"judge": raw})
    async with open_judge(config.judge) as opened:
        yield opened
