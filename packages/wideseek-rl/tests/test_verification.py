"""What a verification of weights computes, and what it keeps."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import torch

from wideseek_core import TrainError
from wideseek_rl.engines.control.protocol import Algorithm, Checksums, ServerControl
from wideseek_rl.sync.checksum import sha256
from wideseek_rl.sync.fanout import Failures
from wideseek_rl.sync.source import TensorInfo
from wideseek_rl.sync.verification import SourceComparer, Verification

WEIGHT = torch.arange(6.0)


@dataclass
class Server:
    """A server with the right weights."""

    url: str
    ranks: int = 1
    fails: bool = False

    @property
    def client(self) -> Any:
        return SimpleNamespace(url=self.url)

    async def checksums(self) -> Checksums:
        if self.fails:
            raise TrainError(f"{self.url}: no answer")
        by_name = {"norm.weight": sha256(WEIGHT)}
        return Checksums(algorithm="sha256", by_name=by_name, ranks=self.ranks)


@dataclass
class Source:
    """Copies its weights each time, as a source that gathers or casts them does."""

    copies: list["weakref.ref[torch.Tensor]"] = field(
        default_factory=list["weakref.ref[torch.Tensor]"]
    )

    def metadata(self) -> Sequence[TensorInfo]:
        return [TensorInfo(name="norm.weight", dtype="float32", shape=(6,))]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        copy = WEIGHT.clone()
        self.copies.append(weakref.ref(copy))
        yield "norm.weight", copy

    def kept(self) -> int:
        """How many of its copies are in memory."""
        gc.collect()
        return sum(copy() is not None for copy in self.copies)


@dataclass
class Recorded:
    """Remembers what it was asked; a `Comparer`."""

    asked: list[str] = field(default_factory=list[str])

    async def prepare(self, algorithm: Algorithm) -> None:
        self.asked.append(algorithm)

    async def compare(self, reported: dict[str, Checksums]) -> Failures:
        self.asked.append(" ".join(reported))
        return {}


async def verify(verification: Verification, *servers: Server) -> Failures:
    failures: Failures = {}
    await verification.verify(cast("list[ServerControl]", list(servers)), failures)
    return failures


async def test_nothing_is_computed_for_servers_that_can_not_be_compared() -> None:
    comparer = Recorded()
    verification = Verification(comparer)
    for _ in range(2):
        assert not await verify(verification, Server("split", ranks=2))
    assert not comparer.asked
    for _ in range(2):
        assert not await verify(verification, Server("whole"), Server("split", ranks=2))
    assert comparer.asked == ["whole", "sha256", "whole"]


async def test_no_copy_of_the_weights_outlives_a_verification() -> None:
    source = Source()
    verification = Verification(SourceComparer(source))
    assert not await verify(verification, Server("a"))
    assert not await verify(verification, Server("a"))
    assert (len(source.copies), source.kept()) == (2, 0)
    assert list(await verify(verification, Server("a", fails=True))) == ["a"]
    assert (len(source.copies), source.kept()) == (3, 0)
