# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""What we send to vLLM and what our fake of it answers, against the installed vLLM's own models."""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

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
from wideseek_rl.engines.control.vllm_route import PATH, ArrayRoute
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


class Engine:
    """Replaces vLLM's engine behind the real code that serves requests."""

    def __init__(self, finish_reason: str = "stop") -> None:
        limits = SimpleNamespace(max_num_seqs=8)
        self.vllm_config = SimpleNamespace(scheduler_config=limits)
        self.finish_reason = finish_reason
        self.parameters: Any = None

    async def generate(
        self, prompt: Any, parameters: Any, request_id: str, **_: Any
    ) -> AsyncGenerator[Any]:
        from vllm.logprobs import FlatLogprobs
        from vllm.outputs import CompletionOutput, RequestOutput, WeightVersionSpan

        self.parameters = parameters
        flat = FlatLogprobs()
        for chosen in (-0.5, -1.25):  # of each position the sampled token and the likeliest one
            flat.append_fast([8, 9], [chosen, -0.1], iter([2, 1]), [None, None])
        made = CompletionOutput(
            index=0,
            text="",
            token_ids=[8, 9],
            cumulative_logprob=None,
            logprobs=flat,
            finish_reason=self.finish_reason,
            weight_versions=[WeightVersionSpan(version="v3", start=0, end=2)],
        )
        yield RequestOutput(request_id, None, prompt, None, [made], True, num_cached_tokens=2)


def serving(engine: Engine) -> Any:
    """vLLM's own class with everything that a request of ids passes through."""
    from vllm.entrypoints.scale_out.token_in_token_out.serving import ServingTokens

    async def known(_request: Any) -> None:
        return None

    async def rendered(request: Any, **_: Any) -> list[Any]:
        return [request.token_ids]

    found = object.__new__(ServingTokens)
    found.engine_client = engine
    found.models = SimpleNamespace(model_name=Mock(return_value="policy"))
    found.online_renderer = SimpleNamespace(preprocess_completion=rendered)
    found.model_config = SimpleNamespace(is_encoder_decoder=False, max_model_len=4096)
    found.force_no_detokenize, found.has_tokenizer = True, False
    found.request_logger = None
    found._check_model = known
    found._preflight = found._log_inputs = Mock()
    found._maybe_get_adapters = Mock(return_value=None)
    return found


async def posted(app: Any, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and content of what an application answers on our route."""
    sent: list[Any] = []
    given = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if given.is_set():
            await asyncio.Event().wait()
        given.set()
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b""}
    await app({**scope, "root_path": "", "app": app}, receive, send)
    return sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:]))


def served(engine: Engine, body: bytes) -> tuple[int, dict[str, Any]]:
    """The answer of an application that has our route as vLLM loads it."""
    from fastapi import FastAPI

    app = FastAPI()
    app.state.serving_tokens = serving(engine)
    app.add_middleware(ArrayRoute)
    return asyncio.run(posted(app, body))


def test_our_own_route_serves_what_the_pool_sends_with_the_servers_own_code() -> None:
    sent, answered = asyncio.run(exchange("arrays"))
    engine = Engine()
    status, answer = served(engine, json.dumps(sent).encode())
    assert (status, answer.keys()) == (200, answered.keys())
    assert answer == {
        "ids": [8, 9],
        "logprobs": [-0.5, -1.25],
        "finish_reason": "stop",
        "weight_versions": [{"version": "v3", "start": 0, "end": 2}],
        "cached_tokens": 2,
    }
    parameters = engine.parameters
    assert (parameters.output_kind.name, parameters.flat_logprobs) == ("FINAL_ONLY", True)
    assert (parameters.temperature, parameters.top_p, parameters.max_tokens) == (0.7, 0.9, 5)
    assert (parameters.seed, parameters.stop_token_ids, parameters.logprobs) == (
        2**62 + 1, [4], 0,
    )  # fmt: skip


def test_our_own_route_refuses_what_the_server_refuses() -> None:
    sent, _ = asyncio.run(exchange("arrays"))
    status, answer = served(Engine(), b'{"token_ids": "none"}')
    assert (status, answer["error"]["code"]) == (400, 400)
    many = {**sent, "sampling_params": {**sent["sampling_params"], "n": 99, "temperature": 1.0}}
    status, answer = served(Engine(), json.dumps(many).encode())
    assert status == 400
    assert "max_num_seqs" in answer["error"]["message"]


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
    others = data_plane | {PATH}  # our own is added by the middleware
    assert {pair for pair in fake.routes() if pair[1] not in others} <= there


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
