"""Whether servers hold what was sent: their checksums against those of the source."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wideseek_core import TrainError
from wideseek_core.counting import counted
from wideseek_rl.engines.control.protocol import Algorithm, Checksums, ServerControl
from wideseek_rl.sync.checksum import SentTensors
from wideseek_rl.sync.fanout import Failures, on_each
from wideseek_rl.sync.source import WeightSource

logger = logging.getLogger(__name__)


class Comparer(Protocol):
    """Knows what was sent."""

    async def prepare(self, algorithm: Algorithm) -> None:
        """Computes checksums of what was sent last, while the servers compute theirs."""
        ...

    async def compare(self, reported: dict[str, Checksums]) -> Failures:
        """The servers, by address, whose tensors are not what was sent, and which are not.

        Frees what `prepare` has computed; with nothing reported, it does that alone.
        """
        ...


@dataclass(slots=True)
class Verification:
    """Asks all servers at once, and has their answers compared."""

    comparer: Comparer
    _algorithm: Algorithm | None = None
    """Of the servers that can be compared, known from their first answer on."""

    async def verify(self, servers: Sequence[ServerControl], failures: Failures) -> None:
        """Adds the servers that can't answer, or hold something else."""
        reported: dict[str, Checksums] = {}

        async def ask(server: ServerControl) -> None:
            found = await server.checksums()
            if _comparable(server.client.url, found):
                self._algorithm = found.algorithm
                reported[server.client.url] = found

        prepared = self._algorithm is not None
        preparing = asyncio.create_task(self._prepare())
        try:
            await on_each(servers, ask, failures)
        finally:
            await preparing
        if reported or prepared:
            failures |= await self.comparer.compare(reported)

    async def _prepare(self) -> None:
        if self._algorithm is not None:
            await self.comparer.prepare(self._algorithm)


@dataclass(slots=True)
class SourceComparer:
    """Compares in this process; a `Comparer`."""

    source: WeightSource
    _sent: SentTensors | None = None

    async def prepare(self, algorithm: Algorithm) -> None:
        """See `Comparer`."""
        sent = await asyncio.to_thread(self._read)
        await asyncio.to_thread(sent.compute, algorithm)
        self._sent = sent

    async def compare(self, reported: dict[str, Checksums]) -> Failures:
        """See `Comparer`."""
        sent, self._sent = self._sent, None
        if not reported:
            return {}
        sent = sent or await asyncio.to_thread(self._read)
        problems = await asyncio.to_thread(differences, sent, reported)
        return {url: TrainError(problem) for url, problem in problems.items()}

    def _read(self) -> SentTensors:
        return SentTensors(dict(self.source.tensors()))


def differences(sent: SentTensors, reported: dict[str, Checksums]) -> dict[str, str]:
    """What is wrong with servers, by their address; names the first tensors."""
    problems: dict[str, str] = {}
    for url, checksums in reported.items():
        try:
            wrong = sent.mismatches(checksums)
        except TrainError as error:
            problems[url] = f"{url}: {error}"
            continue
        if wrong:
            names = ", ".join(wrong[:3])
            problems[url] = (
                f"{url}: not as they were sent: {counted(len(wrong), 'tensor')}, {names}"
            )
    return problems


def _comparable(url: str, reported: Checksums) -> bool:
    """Whether a server holds whole tensors."""
    if reported.ranks > 1:
        logger.warning("%s: tensors are split among GPUs and can't be verified", url)
    return reported.ranks == 1
