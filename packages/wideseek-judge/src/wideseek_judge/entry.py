"""How other packages find these judges: by the entry-point group `wideseek.judges`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from wideseek_core.config import load_config
from wideseek_core.scores import Judge
from wideseek_judge.config import JudgeConfig
from wideseek_judge.judge import open_judge


@asynccontextmanager
async def open_named(mode: str, judge: str, settings: Sequence[str] = ()) -> AsyncGenerator[Judge]:
    """The judge of that kind and mode.

    The settings are those of `JudgeConfig`: `endpoint.base_url=URL`, or YAML files. Raises
    `ConfigError`.
    """
    config = load_config(JudgeConfig, [*settings, f"mode={mode}", f"kind={judge}"])
    async with open_judge(config) as opened:
        yield opened
