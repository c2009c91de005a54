"""A process that samples for a `ReplicatedEngine`: `python -m wideseek_rl.engines.builtin.worker`.

It reads messages from its standard input, answers on its standard output, and ends with its input.
"""

import asyncio
import logging
import os
import signal
import sys
from typing import BinaryIO

import torch
from safetensors.torch import load

from wideseek_core.errors import PolicyError
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.builtin.messages import (
    Answer,
    Cancel,
    Close,
    Generate,
    Setup,
    Weights,
    packed,
    receive,
)
from wideseek_rl.models.decoder import Decoder

logger = logging.getLogger(__name__)


class Worker:
    """Serves one engine; answers go to `out` in the order in which they are ready."""

    def __init__(self, setup: Setup, out: BinaryIO) -> None:
        self._model = Decoder(setup.shape).to(setup.dtype).requires_grad_(False)
        self._setup = setup
        self._engine: TorchEngine | None = None
        self._out = out
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Does what it is told, until nothing more comes. Raises `EOFError` then."""
        while True:
            message = await receive(reader)
            if isinstance(message, Weights):
                await self._load(message)
                self._send(message.version)
            elif isinstance(message, Generate):
                self._tasks[message.number] = asyncio.create_task(self._answer(message))
            elif isinstance(message, Cancel):
                if (task := self._tasks.get(message.number)) is not None:
                    task.cancel()
            elif isinstance(message, Close):
                await self._running().close_session(message.session)
            else:
                raise TypeError(f"not a message: {message!r}")

    async def _load(self, weights: Weights) -> None:
        if self._engine is None:
            self._model.load_state_dict(load(weights.state))
            self._engine = TorchEngine(self._model, self._setup.config)
        else:
            async with self._engine.paused():
                self._model.load_state_dict(load(weights.state))
                self._engine.reset_cache()
        self._engine.version = weights.version

    async def _answer(self, ask: Generate) -> None:
        try:
            outcome = await self._running().generate(
                ask.ids, session=ask.session, sampling=ask.sampling
            )
        except PolicyError as error:
            outcome = error
        except Exception as error:
            # Whatever it is, the one who waits must hear of it.
            logger.exception("sampling failed")
            outcome = PolicyError(f"sampling failed: {type(error).__name__}: {error}")
        finally:
            del self._tasks[ask.number]
        self._send(Answer(ask.number, outcome))

    def _running(self) -> TorchEngine:
        if self._engine is None:
            raise RuntimeError("no weights have come yet")
        return self._engine

    def _send(self, message: object) -> None:
        self._out.write(packed(message))
        self._out.flush()


async def work(out: BinaryIO) -> None:
    """Serves whoever holds the other end of standard input."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin.buffer)
    try:
        setup: Setup = await receive(reader)
        await Worker(setup, out).serve(reader)
    except EOFError:
        # Nothing here is worth keeping, and a turn under way would be waited for.
        os._exit(0)


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The one that started it says when to end.
    torch.set_num_threads(1)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print is no message.
        asyncio.run(work(out))


if __name__ == "__main__":
    main()
