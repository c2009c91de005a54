"""A rollout engine that repeats the end of its prompt: `policy.engine.kind=echo`.

It shows all that an engine needs: it samples ids, says which weights sampled them, and takes new
weights. Useful as it is to measure everything but the model.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from wideseek_core import Config, Finish, Generated, Sampling, one_version
from wideseek_core.plugins import Plugin
from wideseek_rl import PolicyModel, Trainer


class EchoConfig(Config):
    """Settings of the engine."""

    kind: Literal["echo"] = "echo"
    tokens: int = 8
    """How many tokens of the prompt are repeated."""


class EchoEngine:
    """Samples, and is its own weight synchronization."""

    def __init__(self, config: EchoConfig) -> None:
        self._config = config
        self._version = 0

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        """The last ids of the prompt, each with probability one."""
        ids = tuple(prompt_ids[-min(self._config.tokens, sampling.max_tokens) :])
        return Generated(
            ids=ids,
            logprobs=(0.0,) * len(ids),
            finish=Finish.STOP,
            versions=one_version(self._version, len(ids)),
        )

    async def close_session(self, session: str) -> None:
        """Nothing is kept of a session."""

    def sync(self, trainer: Trainer) -> "EchoEngine":
        """Connects the engine with the trainer whose weights it takes."""
        return self

    @asynccontextmanager
    async def updating(self) -> AsyncGenerator[Callable[[int], None]]:
        """The time in which weights are replaced; the number of the new ones is given inside."""
        given: list[int] = []
        yield given.append
        self._version = given[-1]


@asynccontextmanager
async def open_echo(config: EchoConfig, model: PolicyModel) -> AsyncGenerator[EchoEngine]:
    """The engine. `model` has the weights and the tokenizer, which this one does not need."""
    yield EchoEngine(config)


ENGINE = Plugin(config=EchoConfig, open=open_echo)
