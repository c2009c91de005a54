"""How inference servers are started and controlled; no torch is needed to read it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from wideseek_core import Config


class ControlConfig(Config):
    """Time limits of control requests."""

    call_timeout_s: float = Field(default=60.0, gt=0)
    """Timeout of a control request, such as pausing."""
    transfer_timeout_s: float = Field(default=300.0, gt=0)
    """Timeout of a request that brings weights."""
    api_key_env: str = ""
    """Environment variable that holds the API key; empty sends none."""


class LaunchConfig(Config):
    """A server that is started as a child process."""

    host: str = "127.0.0.1"
    """Interface to listen on. Weight transfer unpickles what clients send, so keep it local."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the first replica; the others follow. 0 takes free ones."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share every layer."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Groups of GPUs that share the layers among them."""
    memory_share: float = Field(default=0.85, gt=0, le=1)
    """Share of a GPU's memory for weights and cache."""
    max_running: int = Field(default=256, ge=1)
    """Requests computed at once."""
    context_tokens: int | None = Field(default=None, ge=2)
    """Longest prompt plus response; null takes the model's."""
    cuda_graphs: bool = True
    """Capture decoding in CUDA graphs: faster, after a longer start."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of the weights. They must come in the same one: left to choose by themselves, SGLang
    takes float16 where vLLM takes bfloat16."""
    float32_head: bool = True
    """Compute logits in float32, as the trainer does. Rounded to bfloat16 they differ by some
    hundredths. vLLM before 0.32 does it by code of ours, which another `program` does not have."""
    sleep: bool = False
    """Prepare for giving GPU memory back while the trainer needs it."""
    deterministic: bool = True
    """SGLang only: honor the seeds of requests, at some cost of speed."""
    api_processes: int = Field(default=1, ge=1)
    """vLLM only: processes that answer HTTP requests."""
    outputs_at_end: bool = True
    """vLLM before 0.29 only: hand the tokens of a request over when it ends. One by one they cost
    the server's processes more than a small model does. Its metrics then take the time until the
    end for the time to the first token. It is code of ours, which another `program` does not
    have."""
    extra_args: tuple[str, ...] = ()
    """Further options of the server's command line."""
    environment: dict[str, str] = Field(default_factory=dict[str, str])
    """Further environment variables of the server."""
    python: Path | None = None
    """Interpreter of the environment that starts the server, with vLLM or SGLang and this package;
    null for the running one."""
    program: tuple[str, ...] = ()
    """The command that starts the server, where that is no interpreter with this package."""
    start_timeout_s: float = Field(default=600.0, gt=0)
    """Longest time until the server is healthy."""
    stop_timeout_s: float = Field(default=20.0, gt=0)
    """Time for a server to end by itself; then it is killed."""

    def refuse_others(self, kind: Literal["vllm", "sglang"]) -> None:
        """Raises `ValueError` for a setting that servers of this kind would not follow."""
        names = ("deterministic",) if kind == "vllm" else ("api_processes", "outputs_at_end")
        owner = "SGLang" if kind == "vllm" else "vLLM"
        for name in names:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"launch.{name} is a setting of {owner} alone; leave it out")


class ServerPlacement(Config):
    """What one replica is started with, beside its `LaunchConfig`."""

    model: Path
    """Model folder in Hugging Face format."""
    name: str = "policy"
    """Name that the model is served under."""
    log: Path
    """File that gets everything the server prints."""
    port: int
    seed: int
    """Seed of the server's own random numbers; replicas need different ones."""
    devices: tuple[int, ...] | None = None
    """GPUs that the server sees; null for those that this process sees."""
    transfer: Literal["ipc", "nccl"] = "ipc"
    """How new weights will come."""
