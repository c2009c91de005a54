# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""What we send to vLLM and what our fake of it answers, against the installed vLLM's own models."""

import asyncio
import inspect
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wideseek_agents.engines import VllmServersConfig, open_servers
from wideseek_core import Sampling
from wideseek_core.testing import FakeVllm
from wideseek_rl.engines.control.commands import vllm_command
from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.protocol import parsed_version
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.sync.ipc import IpcTransport, VllmIpcWire
from wideseek_rl.sync.senders import NewVllmSender, vllm_sender
from wideseek_rl.sync.source import ModuleSource

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs the extra vllm"),
    pytest.mark.filterwarnings("ignore"),  # of its imports
]
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=5, stop_ids=(4,), seed=2**62 + 1)


async def exchange(route: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request as the pool sends it, and the fake's answer to it."""
    fake = FakeVllm()
    async with fake.serving():
        config = VllmServersConfig.model_validate({"base_urls": (fake.url,), "route": route})
        async with open_servers(config, vocab_size=1000) as pool:
            await pool.generate([5, 6, 7], session="a", sampling=SAMPLING)
        request = fake.server.requests[-1]
        return request.json(), json.loads((await fake.server.handler(request)).body)


def test_requests_and_answers_of_the_token_route() -> None:
    from vllm.entrypoints.scale_out.token_in_token_out import protocol

    sent, answered = asyncio.run(exchange("generate"))
    request = protocol.GenerateRequest.model_validate(sent)
    assert request.token_ids == [5, 6, 7]
    assert request.cache_salt == "v0"
    params = request.sampling_params
    assert (params.temperature, params.top_p, params.max_tokens) == (0.7, 0.9, 5)
    assert (params.seed, params.stop_token_ids, params.logprobs) == (2**62 + 1, [4], 0)
    assert params.detokenize is False
    response = protocol.GenerateTokensResponse.model_validate(answered)
    choice = response.choices[0]
    assert choice.logprobs is not None
    assert [entry.token_id for entry in choice.logprobs.content or ()] == choice.token_ids
    assert choice.weight_versions is not None
    unknown = answered.keys() - protocol.GenerateTokensResponse.model_fields.keys()
    assert unknown == set()
    fields = protocol.GenerateTokensChoice.model_fields.keys()
    assert answered["choices"][0].keys() <= fields


def test_requests_of_the_completions_route() -> None:
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    sent, answered = asyncio.run(exchange("completions"))
    request = CompletionRequest.model_validate(sent)
    assert (request.prompt, request.return_token_ids) == ([5, 6, 7], True)
    assert (request.cache_salt, request.seed, request.logprobs) == ("v0", 2**62 + 1, 0)
    assert sent.keys() <= CompletionRequest.model_fields.keys()
    assert "token_ids" in answered["choices"][0]


def test_the_control_routes_are_there() -> None:
    from vllm.entrypoints.rl.online.api_router import router
    from vllm.entrypoints.serve.dev.cache.api_router import router as cache
    from vllm.entrypoints.serve.dev.rpc.api_router import router as rpc
    from vllm.entrypoints.serve.dev.sleep.api_router import router as sleep

    there = {
        (method, route.path)
        for found in (router, cache, rpc, sleep)
        for route in found.routes
        for method in route.methods
    }
    fake = FakeVllm()
    data_plane = {"/health", "/v1/models", "/version", "/inference/v1/generate", "/v1/completions"}
    assert {pair for pair in fake.routes() if pair[1] not in data_plane} <= there


def test_weight_transfers_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.distributed.weight_transfer import ipc_engine, nccl_common, nccl_engine

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")

    async def send() -> FakeVllm:
        fake = FakeVllm()
        async with fake.serving():
            wire = VllmIpcWire(export=lambda tensor: b"1", uuid=lambda tensor: "GPU-0")
            transport = IpcTransport(ModuleSource(nn.Linear(2, 2), torch.bfloat16), wire)
            server = VllmControl(fake.url)
            assert await transport.connect([server]) == {}
            assert await transport.send([server], 1) == {}
        return fake

    fake = asyncio.run(send())
    assert fake.init_info is not None
    ipc_engine.IPCWeightTransferInitInfo(**fake.init_info)
    info = ipc_engine.IPCWeightTransferUpdateInfo(**fake.updates[0])
    assert info.names == ["weight", "bias"]
    assert info.ipc_handles == [{"GPU-0": b"1"}] * 2
    place = {"master_address": "a", "master_port": 1, "rank_offset": 1, "world_size": 2}
    sender = NewVllmSender(nccl_engine)
    nccl_common.NCCLWeightTransferInitInfo(**place, **sender.init_fields())
    update = {"names": ["w"], "dtype_names": ["bfloat16"], "shapes": [[2]]}
    nccl_engine.NCCLWeightTransferUpdateInfo(**update, **sender.update_fields())


def test_the_installed_trainer_interface_is_the_new_one() -> None:
    sender = vllm_sender()
    assert isinstance(sender, NewVllmSender)
    engine = sender.engine.NCCLTrainerWeightTransferEngine
    parameters = inspect.signature(engine.trainer_init).parameters
    assert {"init_info", "client", "source"} <= parameters.keys()
    fields = inspect.signature(sender.engine.NCCLTrainerInitInfo).parameters
    assert {"master_address", "master_port", "world_size", "packed", "rank"} <= fields.keys()


def test_every_option_of_the_command_line_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm import platforms
    from vllm.platforms.cpu import CpuPlatform

    # Without a GPU vLLM's CUDA build knows no device, not even to list its options.
    monkeypatch.setattr(platforms, "_current_platform", CpuPlatform())
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.version import __version__

    config = LaunchConfig(context_tokens=4096, cuda_graphs=False, sleep=True, api_processes=2)
    place = ServerPlacement(model=tmp_path, log=tmp_path / "log", port=8000, seed=1)
    command = vllm_command(config, place, parsed_version(__version__))
    options = list(command[command.index("serve") + 1 :])
    given = make_arg_parser(FlexibleArgumentParser()).parse_args(options)
    assert given.model_tag == str(tmp_path)
    assert (given.max_num_seqs, given.logprobs_mode) == (256, "processed_logprobs")
    assert given.enable_scale_out is True
