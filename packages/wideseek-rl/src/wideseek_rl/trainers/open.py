"""Opens the trainer that a configuration names.

Trainers of installed distributions are `Plugin` entry points of `wideseek.trainers`: `open` takes
the configuration, the `LossConfig` and the `PolicyModel`, and returns an async context manager of
a `Trainer`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_core import Config
from wideseek_core.plugins import opener
from wideseek_rl.models.policy import PolicyModel
from wideseek_rl.threads import short_turns
from wideseek_rl.trainers.config import LossConfig, TorchTrainerConfig
from wideseek_rl.trainers.megatron.config import NemoAlignerConfig
from wideseek_rl.trainers.protocol import Trainer
from wideseek_rl.trainers.remote.client import Processes, open_torch_ranks

TRAINERS = "wideseek.trainers"


@asynccontextmanager
async def open_trainer(
    config: Config, loss: LossConfig, model: PolicyModel, processes: Processes | None = None
) -> AsyncGenerator[Trainer]:
    """The trainer of a configuration, on the model: in this process, or in `processes`.

    Raises `ConfigError`.
    """
    match config:
        case TorchTrainerConfig() if processes is not None:
            async with open_torch_ranks(config, loss, model, processes) as trainer:
                yield trainer
        case TorchTrainerConfig():
            from wideseek_rl.trainers.in_thread import InThread
            from wideseek_rl.trainers.torch import TorchTrainer

            # Adapters are put in a module of the trainer's own: engines know plain ones alone.
            trainer = TorchTrainer(
                model.module if config.lora is None else model.load_base(),
                config,
                loss,
                tokenizer_file=model.tokenizer_file,
                adapter=model.adapter,
            )
            with short_turns():
                yield InThread(trainer)
        case NemoAlignerConfig():
            from wideseek_rl.trainers.megatron.client import open_nemo_aligner

            async with open_nemo_aligner(config, loss, model, processes) as trainer:
                yield trainer
        case _:
            async with opener(TRAINERS, config)(config, loss, model) as trainer:
                yield trainer
