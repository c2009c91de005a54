"""A helper process that samples for a `ReplicatedEngine`, on one core."""

import torch
from safetensors.torch import load

from wideseek_core.helper import serve_concurrently
from wideseek_core.policy import Generated
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.engines.builtin.messages import CloseSession, Generate, LoadWeights, Setup
from wideseek_rl.models.decoder import Decoder


class EngineServer:
    """Answers the messages of one `ReplicatedEngine`."""

    def __init__(self) -> None:
        self._engine: TorchEngine | None = None

    async def handle(self, message: object) -> Generated | None:
        """Does what a message asks for. Raises `PolicyError`."""
        if isinstance(message, Setup):
            model = Decoder(message.shape).to(message.dtype).requires_grad_(False)
            self._engine = TorchEngine(model, message.config)
            return None
        assert self._engine is not None
        match message:
            case Generate():
                return await self._engine.generate(
                    message.ids, session=message.session, sampling=message.sampling
                )
            case LoadWeights():
                tensors = load(message.state)
                await self._engine.load_weights(iter(tensors.items()), message.version)
            case CloseSession():
                await self._engine.close_session(message.session)
            case _:
                raise TypeError(f"not a message: {message!r}")
        return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve_concurrently(EngineServer().handle)
