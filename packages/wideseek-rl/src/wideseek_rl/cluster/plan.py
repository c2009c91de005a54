"""Which process of a placement runs on which host and GPUs."""

from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core import ConfigError
from wideseek_core.counting import counted
from wideseek_rl.cluster.config import LocalPlacement, PlacementConfig, RayPlacement


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedProcess:
    """One process of a run."""

    name: str
    """Role and number: `engine-0`."""
    node: int
    """Number of the host, from 0."""
    gpus: tuple[int, ...]
    """By their numbers on the host."""


@dataclass(slots=True)
class _Nodes:
    """Hosts with a number of GPUs each; the last one is filled first."""

    gpus: Sequence[int]
    """Numbers of the GPUs of a host."""
    node: int = 0
    used: int = 0

    def take(self, count: int) -> tuple[int, tuple[int, ...]]:
        """A host and GPUs of it for one process."""
        if self.used + count > len(self.gpus) and count:
            self.node += 1
            self.used = 0
        chosen = tuple(self.gpus[self.used : self.used + count])
        self.used += count
        return self.node, chosen


def plan(placement: PlacementConfig, gpus: Sequence[int]) -> list[PlannedProcess]:
    """All processes of a placement on hosts with these GPUs each. Raises `ConfigError`.

    Engines that share the trainer's GPUs go round them.
    """
    _check(placement, len(gpus))
    nodes = _Nodes(gpus)
    found: list[PlannedProcess] = []

    def add(role: str, number: int, count: int) -> None:
        node, chosen = nodes.take(count)
        found.append(PlannedProcess(name=f"{role}-{number}", node=node, gpus=chosen))

    for rank in range(placement.trainer.ranks):
        add("trainer", rank, min(placement.trainer.gpus, 1))
    trainer = list(found)
    engines = placement.engines
    for number in range(0 if engines.base_urls else engines.replicas):
        if engines.colocated:
            found.append(_beside(trainer, number, engines.gpus))
        else:
            add("engine", number, engines.gpus)
    if placement.judge is not None:
        add("judge", 0, placement.judge.gpus * placement.judge.copies)
    if placement.retrieval is not None:
        add("retrieval", 0, 0)
    if isinstance(placement, LocalPlacement) and nodes.node:
        raise ConfigError(
            "placement: the processes want "
            f"{counted(placement.gpus, 'GPU')}, this host has {len(gpus)}"
        )
    return found


def _check(placement: PlacementConfig, gpus: int) -> None:
    """Raises `ConfigError` for a process that wants more GPUs than a host has."""
    wanted = {
        "trainer": placement.trainer.tensor_parallel if placement.trainer.gpus else 0,
        "engines": 0 if placement.engines.base_urls else placement.engines.gpus,
        "judge": placement.judge.gpus * placement.judge.copies if placement.judge else 0,
    }
    where = "a node" if isinstance(placement, RayPlacement) else "this host"
    for role, count in wanted.items():
        if count > gpus:
            raise ConfigError(
                f"placement.{role}: wants {counted(count, 'GPU')} together, {where} has {gpus}"
            )


def _beside(trainer: Sequence[PlannedProcess], number: int, count: int) -> PlannedProcess:
    """An engine on GPUs of the trainer's."""
    ranks = [trainer[(number * count + at) % len(trainer)] for at in range(max(count, 1))]
    gpus = tuple(gpu for rank in ranks for gpu in rank.gpus)
    return PlannedProcess(name=f"engine-{number}", node=ranks[0].node, gpus=gpus)


def devices(processes: Sequence[PlannedProcess]) -> dict[str, tuple[int, ...]]:
    """GPUs by the name of the process, for those that have any."""
    return {process.name: process.gpus for process in processes if process.gpus}
