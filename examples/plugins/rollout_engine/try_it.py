"""Samples once, replaces the weights, and samples again."""

import asyncio

from wideseek_core import Config, Sampling, load_config
from wideseek_rl import BuiltinEngineConfig, EngineConfig, ModelConfig, PolicyModel, open_engine


class Settings(Config):
    """What a command would read."""

    engine: EngineConfig = BuiltinEngineConfig()


async def main() -> None:
    settings = load_config(Settings, ["engine.kind=echo", "engine.tokens=2"])
    async with open_engine(settings.engine, PolicyModel(ModelConfig())) as engine:
        made = await engine.generate([5, 6, 7], session="a", sampling=Sampling())
        print(made.ids, "of version", made.version)


asyncio.run(main())
