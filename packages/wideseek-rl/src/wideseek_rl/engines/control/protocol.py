"""What weight updates and memory need of a server, the same for vLLM and SGLang."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from wideseek_rl.engines.control.client import ControlClient

Part = Literal["weights", "cache"]
"""What of a server takes GPU memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server can do."""

    version: tuple[int, ...]
    """Of the server's software, e.g. (0, 32)."""
    spans: bool
    """Whether it reports which weights sampled which token: only then may it hold requests across
    an update, since else nobody knows where the new weights began."""


Algorithm = Literal["wideseek", "sha256", "sglang"]
"""How a server computes checksums: by our worker extension, as vLLM does, as SGLang does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksums:
    """Checksums of a server's tensors, by the server's names."""

    algorithm: Algorithm
    by_name: Mapping[str, str]
    ranks: int = 1
    """GPUs that each hold a part of the tensors."""


class ServerControl(Protocol):
    """One server. Every method raises `TrainError`, which names the server, and has a bound."""

    @property
    def client(self) -> ControlClient:
        """For requests that only one kind of server knows."""
        ...

    async def inspect(self) -> ServerFacts:
        """Asks what the server can do."""
        ...

    async def pause(self, *, keep: bool) -> None:
        """Stops sampling; requests are held, or given up with what they have."""
        ...

    async def resume(self) -> None:
        """Samples again. Resuming a server that is not paused is fine."""
        ...

    async def set_version(self, version: int) -> None:
        """Labels the weights, where the server keeps a label."""
        ...

    async def reset_cache(self) -> None:
        """Empties the prefix cache. Raises if the server does not confirm it."""
        ...

    async def checksums(self) -> Checksums:
        """Checksums of all tensors."""
        ...

    async def release(self, *parts: Part) -> None:
        """Gives GPU memory back. Released weights are gone until they are sent again."""
        ...

    async def restore(self, *parts: Part) -> None:
        """Takes GPU memory again."""
        ...


def parsed_version(text: object) -> tuple[int, ...]:
    """The numbers at the beginning of a version, e.g. (0, 5, 17) of `0.5.17.post1`."""
    numbers: list[int] = []
    for part in str(text).split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
