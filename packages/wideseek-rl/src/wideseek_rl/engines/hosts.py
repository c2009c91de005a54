"""Where the replicas of an engine run, as far as an engine has to know."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wideseek_rl.cluster.launcher import Launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHosts:
    """Places for replicas, or servers that run already."""

    launcher: "Launcher"
    gpus: int = 0
    """GPUs of each replica."""
    base_urls: tuple[str, ...] = ()
    """Addresses of servers that run already; nothing is started then."""
    max_restarts: int = 0
    """Times that a replica is started again."""
