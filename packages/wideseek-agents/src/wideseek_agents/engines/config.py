"""Servers of vLLM or SGLang that sample for us, as configuration."""

from typing import Annotated, Literal

from pydantic import Field

from wideseek_core import Config
from wideseek_core.endpoint import HttpAddresses


class ServersConfig(Config):
    """Replicas of one model behind HTTP, and how they are used."""

    base_urls: HttpAddresses = Field(min_length=1)
    """Addresses of the replicas, e.g. `["http://127.0.0.1:8000"]`."""
    model: str = ""
    """The name that the servers give the model; empty takes the only one they serve."""
    api_key_env: str = ""
    """Environment variable that holds the API key; empty sends none."""
    max_running: int = Field(default=256, ge=1)
    """Requests that one replica gets at once; others wait here."""
    max_queued: int = Field(default=10_000, ge=1)
    """Requests that may wait for a replica; one more fails at once."""
    queue_timeout_s: float = Field(default=3600.0, gt=0)
    """Longest wait for a replica. It is not part of `timeout_s`."""
    timeout_s: float = Field(default=900.0, gt=0)
    """Timeout of one attempt, from the moment that it is sent."""
    max_attempts: int = Field(default=5, ge=1)
    """Attempts of one request, on one replica or on several."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Pause after a failed attempt on a replica that is alive."""
    outage_timeout_s: float = Field(default=120.0, ge=0)
    """How long requests wait for a replica to come back when none is alive."""
    probe_interval_s: float = Field(default=5.0, gt=0)
    """Pause between two health probes of a replica."""
    probe_timeout_s: float = Field(default=5.0, gt=0)
    """Timeout of a health probe."""
    max_failed_probes: int = Field(default=3, ge=1)
    """Failed probes in a row after which a replica is dead, and its requests are sent elsewhere."""
    affinity_wait_s: float = Field(default=1.0, ge=0)
    """How long a request may wait for the replica that holds its prefix before any other takes
    it."""
    check_logprobs: bool = True
    """Check on opening that log-probabilities are those of the sampling distribution."""


class VllmServersConfig(ServersConfig):
    """Replicas of a vLLM server."""

    kind: Literal["vllm"] = "vllm"
    route: Literal["generate", "completions", "arrays"] = "generate"
    """`generate` is vLLM's route for token ids (`/inference/v1/generate`), which reports weight
    versions where the server knows them; `completions` is the OpenAI route; `arrays` is the fastest
    one, of servers that a training run of WideSeek has started."""


class SglangServersConfig(ServersConfig):
    """Replicas of an SGLang server."""

    kind: Literal["sglang"] = "sglang"


AnyServersConfig = Annotated[VllmServersConfig | SglangServersConfig, Field(discriminator="kind")]
