"""Where the processes of a run are: what is wanted, not how; no torch is needed to read it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, field_validator, model_validator

from wideseek_core import Config
from wideseek_core.counting import counted
from wideseek_core.endpoint import HttpAddresses
from wideseek_core.plugins import kind_union
from wideseek_rl.engines.control.config import LaunchConfig

ROLES = ("trainer", "engine", "judge", "retrieval")
"""What processes of a run are for."""


class TrainerPlacement(Config):
    """The ranks of the trainer."""

    gpus: int = Field(default=0, ge=0)
    """GPUs of the trainer, with one process on each; 0 trains on the CPU."""
    processes: int = Field(default=1, ge=0)
    """Processes where `gpus` is 0; 0 trains in the process of the controller."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Ranks that share every layer; the others hold copies, or shards of them (FSDP2)."""
    python: Path | None = None
    """Interpreter of the environment that trains; null for the running one."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.ranks % self.tensor_parallel:
            raise ValueError(
                f"tensor_parallel={self.tensor_parallel} does "
                f"not divide {counted(self.ranks, 'rank')}"
            )
        return self

    @property
    def ranks(self) -> int:
        """Processes that train."""
        return self.gpus or self.processes


class EnginePlacement(Config):
    """The replicas of the policy that sample."""

    replicas: int = Field(default=1, ge=1)
    """Copies of the model."""
    gpus: int = Field(default=0, ge=0)
    """GPUs of each replica, which share every layer; 0 for engines on the CPU."""
    colocated: bool = False
    """Use the trainer's GPUs; new weights then come by CUDA IPC instead of NCCL."""
    memory_share: float | None = Field(default=None, gt=0, le=1)
    """Share of a GPU's memory for weights and cache; null for 0.85, or 0.4 if colocated."""
    base_urls: HttpAddresses = ()
    """Addresses of servers that run already; nothing is started then."""
    python: Path | None = None
    """Interpreter of the environment with vLLM or SGLang and this package; null for the running
    one."""

    @model_validator(mode="after")
    def _attached(self) -> Self:
        if self.base_urls and len(self.base_urls) != self.replicas:
            raise ValueError(
                f"{counted(self.replicas, 'replica')}, "
                f"but {counted(len(self.base_urls), 'address')} in base_urls"
            )
        return self


class JudgePlacement(Config):
    """A server of the judge's model, started by the run, which `judge.endpoint` then asks."""

    kind: Literal["vllm", "sglang"] = "sglang"
    model: Path
    """Model folder."""
    gpus: int = Field(default=1, ge=0)
    """GPUs that share every layer of a copy of the model."""
    copies: int = Field(default=1, ge=1)
    """Copies behind the one address."""
    launch: LaunchConfig = LaunchConfig()
    python: Path | None = None
    """Interpreter of the environment with the server; null for the running one."""

    @model_validator(mode="after")
    def _has_settings_of_its_own(self) -> Self:
        self.launch.refuse_others(self.kind)
        return self


class RetrievalPlacement(Config):
    """A retrieval server, started by the run, which `world.tools` of kind `server` then ask."""

    settings: tuple[str, ...] = ()
    """Settings of `wideseek serve`: YAML files and KEY=VALUE."""
    python: Path | None = None
    """Interpreter of the environment with the server; null for the running one."""
    start_timeout_s: float = Field(default=600.0, gt=0)
    """Longest time until the server is healthy."""


class Workload(Config):
    """What a run is expected to cost: `--dry-run` plans time and GPU hours by it, nothing else.

    Measure a few steps and put their means here: `metrics.jsonl` has them.
    """

    prompts: int = Field(default=20_000, ge=1)
    """Prompts of the data, where `rl.steps` is null."""
    agents: float = Field(default=5.0, gt=0)
    """Agents of a rollout."""
    sampled_tokens: int = Field(default=2500, ge=1)
    """Tokens that an agent samples, all turns together."""
    trained_tokens: int = Field(default=10_000, ge=1)
    """Tokens of an agent that pass through the trainer: its longest prompt, and its responses."""


class PlacementConfig(Config):
    """What every kind of placement says."""

    trainer: TrainerPlacement = TrainerPlacement()
    engines: EnginePlacement = EnginePlacement()
    judge: JudgePlacement | None = None
    """Null judges as `judge` says."""
    retrieval: RetrievalPlacement | None = None
    """Null searches as `world` says."""
    workload: Workload = Workload()
    max_restarts: int = Field(default=3, ge=0)
    """Times that each replica, and the group of the trainer's ranks, is started again in a run."""

    @property
    def has_hosts_to_choose(self) -> bool:
        """Whether a process may come to another host when it is started again."""
        return False

    @property
    def gpus(self) -> int:
        """GPUs of all roles together."""
        engines = 0
        if not (self.engines.colocated or self.engines.base_urls):
            engines = self.engines.replicas * self.engines.gpus
        judge = self.judge.copies * self.judge.gpus if self.judge else 0
        return self.trainer.gpus + engines + judge


class LocalPlacement(PlacementConfig):
    """All processes on this host."""

    kind: Literal["local"] = "local"


class RayPlacement(PlacementConfig):
    """Processes on the nodes of a Ray cluster, which this one joins."""

    kind: Literal["ray"] = "ray"
    address: str = "auto"
    """Of the cluster; `auto` finds the one that this host is part of."""
    gpus_per_node: int = Field(default=8, ge=0)
    """GPUs of a node, for the plan that `--dry-run` shows."""
    cpus: float = Field(default=1.0, gt=0)
    """CPUs that Ray sets aside for each process."""
    resources: dict[str, dict[str, float]] = Field(default_factory=dict[str, dict[str, float]])
    """Further resources that each process of a role takes, such as those that mark the nodes it is
    to be on: `{trainer: {big_node: 0.1}}`. Roles are trainer, engine, judge and retrieval."""
    place_timeout_s: float = Field(default=120.0, gt=0)
    """Time for the cluster to make room for the processes of a role, also after a node was lost."""

    @property
    def has_hosts_to_choose(self) -> bool:
        """See `PlacementConfig`."""
        return True

    @field_validator("resources")
    @classmethod
    def _of_roles(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        if unknown := sorted(set(value) - set(ROLES)):
            raise ValueError(f"{unknown[0]!r} is no role; roles are {', '.join(ROLES)}")
        return value


PLACEMENTS = "wideseek.placements"

if TYPE_CHECKING:
    Placement = LocalPlacement | RayPlacement
else:
    Placement = kind_union(PLACEMENTS, LocalPlacement, RayPlacement, default="local")
