"""How new weights reach inference servers; no torch is needed to read it."""

from typing import Literal

from pydantic import Field

from wideseek_core import Config


class SyncConfig(Config):
    """One weight update of all servers."""

    transfer: Literal["ipc", "nccl"] = "ipc"
    """`ipc` shares GPU memory with servers on the same GPUs; `nccl` sends to servers on others."""
    hold: Literal["auto", "always", "never"] = "auto"
    """Whether servers hold requests across an update. Where they do not, requests are broken off
    and continue under the new weights, which costs the prefix again. `auto` holds where the server
    reports which weights sampled which token."""
    invalidate: Literal["key", "reset"] = "key"
    """How prefixes of old weights are kept from new ones: by a cache key per version, or by a reset
    whose answer is checked."""
    verify: Literal["all", "none"] = "all"
    """Whether checksums of the servers' tensors are compared with what was sent."""
    on_failure: Literal["drop", "end"] = "drop"
    """Whether a server that fails an update leaves the pool while others remain, or the run
    ends."""
    release: Literal["none", "cache", "all"] = "none"
    """GPU memory that servers give back during an update of a trainer on the same GPU; `all` sends
    the weights again even if they have not changed."""
    bucket_bytes: int = Field(default=4 * 2**30, ge=2**20)
    """Bytes of weights that one request carries."""
    master_address: str = "127.0.0.1"
    """NCCL only: where the servers meet the first rank of the trainer. In a Ray cluster the default
    becomes the address of its node."""
    master_port: int = Field(default=0, ge=0, le=65535)
    """NCCL only; 0 takes a free port."""
