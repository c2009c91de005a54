"""vLLM and SGLang as rollout engines, as configuration; no torch is needed to read it."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from wideseek_core import Config
from wideseek_rl.engines.control.config import ControlConfig, LaunchConfig
from wideseek_rl.sync.config import SyncConfig


class ServedEngineConfig(Config):
    """Servers that are started as child processes on the trainer's GPUs."""

    replicas: int = Field(default=1, ge=1)
    """Servers that are started, each with the whole model."""
    launch: LaunchConfig = LaunchConfig(memory_share=0.4)
    """How a server is started; the trainer shares its GPU, so leave it memory."""
    control: ControlConfig = ControlConfig()
    sync: SyncConfig = SyncConfig()
    logs: Path = Path("runs/engine-logs")
    """Folder of the servers' log files."""

    @model_validator(mode="after")
    def _can_release(self) -> Self:
        if self.sync.release != "none" and not self.launch.sleep:
            raise ValueError(
                f"sync.release={self.sync.release} needs servers that were started for it: set "
                "launch.sleep=true"
            )
        return self


class VllmEngineConfig(ServedEngineConfig):
    """Replicas of vLLM."""

    kind: Literal["vllm"] = "vllm"
    route: Literal["auto", "generate", "completions", "arrays"] = "auto"
    """`arrays` is a route of ours that costs the server and this process least; the server must run
    in a Python that has the code. The others are vLLM's own. `auto` takes `arrays` of servers that
    this run starts without `launch.program`, and `generate` of others."""

    @model_validator(mode="after")
    def _has_settings_of_its_own(self) -> Self:
        self.launch.refuse_others("vllm")
        return self

    @model_validator(mode="after")
    def _has_route(self) -> "VllmEngineConfig":
        if self.route == "arrays" and self.launch.program:
            raise ValueError("route=arrays is not there in a server that launch.program starts")
        return self

    def chosen_route(self, *, started: bool) -> Literal["generate", "completions", "arrays"]:
        """The route to servers that this run has started, or to others."""
        if self.route == "auto":
            return "arrays" if started and not self.launch.program else "generate"
        return self.route


class SglangEngineConfig(ServedEngineConfig):
    """Replicas of SGLang."""

    kind: Literal["sglang"] = "sglang"

    @model_validator(mode="after")
    def _has_settings_of_its_own(self) -> Self:
        self.launch.refuse_others("sglang")
        return self
