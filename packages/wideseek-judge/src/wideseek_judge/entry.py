"""How other packages find these judges: by the entry-point group `wideseek.judges`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_core.config import validate
from wideseek_core.scores import Judge
from wideseek_judge.config import JudgeConfig
from wideseek_judge.judge import open_judge


@asynccontextmanager
async def open_named(mode: str, judge: str) -> AsyncGenerator[Judge]:
    """The judge of that kind and mode, otherwise as by default. Raises `ConfigError`."""
    async with open_judge(validate(JudgeConfig, {"mode": mode, "kind": judge})) as opened:
        yield opened
