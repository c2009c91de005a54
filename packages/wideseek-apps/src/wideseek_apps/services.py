"""Servers that a run starts beside engines and trainer: the judge's model, and retrieval."""

import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from wideseek_apps.served_engine import listening
from wideseek_apps.training_config import TrainConfig
from wideseek_apps.world import ToolsWorld
from wideseek_core import Config
from wideseek_rl.cluster.config import JudgePlacement, PlacementConfig, RetrievalPlacement
from wideseek_rl.cluster.launcher import Launcher, Slot, SlotRequest
from wideseek_rl.engines.control.commands import sglang_command, vllm_command
from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.kept import KeptServer, kept
from wideseek_rl.engines.control.protocol import parsed_version
from wideseek_rl.engines.control.relay import open_relay

COPIES = {"vllm": "--data-parallel-size", "sglang": "--dp-size"}
"""The option that runs several copies of a model behind one address."""


def services(placement: PlacementConfig, launcher: Launcher) -> dict[str, KeptServer]:
    """The servers of a placement by their role."""
    found: dict[str, KeptServer] = {}
    if (judge := placement.judge) is not None:

        def ask_judge(slot: Slot, port: int) -> Sequence[str]:
            return judge_command(judge, slot.host, port=port, log=slot.log, devices=slot.devices)

        gpus = judge.gpus * judge.copies
        found["judge"] = _kept("judge", launcher, gpus, ask_judge, judge.launch, placement)
    if (retrieval := placement.retrieval) is not None:

        def retrieve(slot: Slot, port: int) -> Sequence[str]:
            return serve_command(retrieval, slot.host, port)

        launch = LaunchConfig(start_timeout_s=retrieval.start_timeout_s)
        found["retrieval"] = _kept("retrieval", launcher, 0, retrieve, launch, placement)
    return found


def _kept(
    role: str,
    launcher: Launcher,
    gpus: int,
    command: Callable[[Slot, int], Sequence[str]],
    launch: LaunchConfig,
    placement: PlacementConfig,
) -> KeptServer:
    return KeptServer(
        name=role,
        launcher=launcher,
        request=SlotRequest(role=role, gpus=gpus),
        command=command,
        launch=launch,
        max_restarts=placement.max_restarts,
        same_address=not placement.has_hosts_to_choose,
    )


@asynccontextmanager
async def open_services(
    placement: PlacementConfig, launcher: Launcher
) -> AsyncGenerator[dict[str, str]]:
    """Starts the servers of a placement and keeps them running; their addresses by role.

    Addresses hold for the block, also for servers that come to other hosts. Raises `ConfigError`
    for what the hosts can't hold, `TrainError` for a server that does not start.
    """
    servers = services(placement, launcher)
    async with AsyncExitStack() as stack:
        relays: dict[str, str] = {}
        if placement.has_hosts_to_choose:
            for role, server in servers.items():
                relay = await stack.enter_async_context(open_relay())
                server.ready, server.lost = relay.ready, relay.lost
                relays[role] = relay.url
        urls = await stack.enter_async_context(kept(list(servers.values())))
        yield dict(zip(servers, urls, strict=True)) | relays


def judge_command(
    judge: JudgePlacement, host: str, *, port: int, log: Path, devices: tuple[int, ...] | None
) -> tuple[str, ...]:
    """The command line of the judge's server."""
    copies = (COPIES[judge.kind], str(judge.copies)) if judge.copies > 1 else ()
    update: dict[str, object] = {
        "tensor_parallel": max(judge.gpus, 1) // judge.launch.pipeline_parallel,
        "extra_args": (*copies, *judge.launch.extra_args),
        "float32_head": False,
        "deterministic": False,
    }
    if judge.python is not None and not judge.launch.program:
        module = {"vllm": "vllm.entrypoints.cli.main", "sglang": "sglang.launch_server"}
        update["program"] = (str(judge.python), "-m", module[judge.kind])
    launch = listening(judge.launch.model_copy(update=update), host)
    place = ServerPlacement(
        model=judge.model, name=judge.model.name, log=log, port=port, seed=1, devices=devices
    )
    if judge.kind == "sglang":
        return sglang_command(launch, place)
    try:
        installed = parsed_version(version("vllm"))
    except PackageNotFoundError:
        installed = ()
    return vllm_command(launch, place, installed)


def serve_command(retrieval: RetrievalPlacement, host: str, port: int) -> tuple[str, ...]:
    """The command line of the retrieval server."""
    python = str(retrieval.python or sys.executable)
    program = (python, "-m", "wideseek_apps", "serve")
    return (*program, *retrieval.settings, f"host={host}", f"port={port}")


def with_addresses(config: TrainConfig, urls: Mapping[str, str]) -> TrainConfig:
    """The configuration with the addresses of services that were started."""
    update: dict[str, Config] = {}
    placement = config.placement
    if (url := urls.get("judge")) and placement is not None and placement.judge is not None:
        address = {"base_url": f"{url}/v1", "model": placement.judge.model.name}
        endpoint = config.judge.endpoint.model_copy(update=address)
        update["judge"] = config.judge.model_copy(update={"endpoint": endpoint})
    if (url := urls.get("retrieval")) and isinstance(config.world, ToolsWorld):
        tools = config.world.tools
        parts = {
            name: getattr(tools, name).model_copy(update={"base_url": url})
            for name in ("search", "pages")
        }
        update["world"] = config.world.model_copy(update={"tools": tools.model_copy(update=parts)})
    return config.model_copy(update=update)
