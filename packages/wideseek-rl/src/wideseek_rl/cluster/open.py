"""Opens what starts the processes of a placement: the one place that tells its kinds apart."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from wideseek_core.extras import require_modules
from wideseek_rl.cluster.config import LocalPlacement, RayPlacement
from wideseek_rl.cluster.launcher import Launcher
from wideseek_rl.cluster.local import LocalLauncher, visible_gpus
from wideseek_rl.cluster.plan import devices, plan


@asynccontextmanager
async def open_launcher(
    placement: LocalPlacement | RayPlacement, logs: Path
) -> AsyncGenerator[Launcher]:
    """The launcher of a placement; it writes to a folder of logs.

    Raises `ConfigError` for what the hosts can't hold.
    """
    match placement:
        case LocalPlacement():
            gpus = visible_gpus() if placement.gpus else ()
            yield LocalLauncher(logs, devices(plan(placement, gpus)))
        case RayPlacement():
            require_modules("ray", feature="placement.kind=ray", install="wideseek-rl[ray]")
            from wideseek_rl.cluster.ray.launcher import open_ray

            async with open_ray(placement, logs) as launcher:
                yield launcher
