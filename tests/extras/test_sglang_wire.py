# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""What we send to SGLang and what our fake answers, against the installed SGLang's own models."""

import argparse
import asyncio
import base64
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wideseek_agents.engines import SglangServersConfig, open_servers
from wideseek_core import Sampling
from wideseek_core.testing import FakeSglang
from wideseek_rl.engines.control.commands import sglang_command
from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.sync.ipc import flattened, packed
from wideseek_rl.sync.nccl import SglangNcclWire
from wideseek_rl.sync.source import ModuleSource

pytestmark = [
    pytest.mark.sglang,
    pytest.mark.skipif(find_spec("sglang") is None, reason="needs the extra sglang"),
    pytest.mark.filterwarnings("ignore"),  # of its imports
]
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=5, stop_ids=(4,), seed=2**62 + 1)


async def exchange() -> tuple[dict[str, Any], dict[str, Any]]:
    """A request as the pool sends it, and the fake's answer to it."""
    fake = FakeSglang()
    async with fake.serving():
        config = SglangServersConfig(base_urls=(fake.url,))
        async with open_servers(config, vocab_size=1000) as pool:
            await pool.generate([5, 6, 7], session="a", sampling=SAMPLING)
        request = fake.server.requests[-1]
        return request.json(), json.loads((await fake.server.handler(request)).body)


def test_requests_of_the_token_route() -> None:
    from sglang.srt.managers.io_struct import GenerateReqInput
    from sglang.srt.sampling.sampling_params import SamplingParams

    sent, answered = asyncio.run(exchange())
    request = GenerateReqInput(**sent)  # a field that it lacks would be ignored over HTTP
    request.normalize_batch_and_arguments()
    assert request.input_ids == [5, 6, 7]
    assert (request.extra_key, request.return_logprob) == ("v0", True)
    params = SamplingParams(**sent["sampling_params"])
    assert (params.max_new_tokens, params.sampling_seed) == (5, 2**62 + 1)
    assert set(params.stop_token_ids or ()) == {4}
    meta = answered["meta_info"]
    assert len(meta["output_token_logprobs"]) == len(answered["output_ids"])


def test_version_spans_look_as_the_server_writes_them() -> None:
    from sglang.srt.utils.weight_versions import (
        WeightVersionSpan,
        add_weight_versions_to_meta_info,
    )

    _, answered = asyncio.run(exchange())
    meta: dict[str, Any] = {}
    spans = [WeightVersionSpan(version="default", start=0, end=5)]
    add_weight_versions_to_meta_info(meta, spans, num_output_tokens=5)
    assert answered["meta_info"]["weight_versions"] == meta["weight_versions"]


def test_control_requests_are_understood() -> None:
    import msgspec
    from sglang.srt.managers import io_struct

    async def control() -> dict[str, dict[str, Any]]:
        fake = FakeSglang()
        fake.receive = lambda body: asyncio.sleep(0, {})
        async with fake.serving():
            server = SglangControl(fake.url)
            await server.pause(keep=True)
            await server.set_version(3)
            await server.checksums()
            await server.release("weights", "cache")
            await server.restore("weights", "cache")
            wire = SglangNcclWire()
            place = {"master_address": "a", "master_port": 1, "rank_offset": 1, "world_size": 2}
            await wire.join(server, place)
            update = {"names": ["w"], "dtype_names": ["bfloat16"], "shapes": [[2]]}
            await wire.begin(server)
            await wire.receive(server, update, "4")
            await wire.finish(server, "4")
            await server.resume()
        return {request.path: request.json() for request in fake.server.requests}

    sent = asyncio.run(control())
    models = {
        "/pause_generation": io_struct.PauseGenerationReqInput,
        "/continue_generation": io_struct.ContinueGenerationReqInput,
        "/update_weight_version": io_struct.UpdateWeightVersionReqInput,
        "/weights_checker": io_struct.CheckWeightsReqInput,
        "/release_memory_occupation": io_struct.ReleaseMemoryOccupationReqInput,
        "/resume_memory_occupation": io_struct.ResumeMemoryOccupationReqInput,
        "/init_weights_update_group": io_struct.InitWeightsUpdateGroupReqInput,
        "/begin_weight_update": io_struct.BeginWeightUpdateReqInput,
        "/end_weight_update": io_struct.EndWeightUpdateReqInput,
        "/update_weights_from_distributed": io_struct.UpdateWeightsFromDistributedReqInput,
    }
    for path, model in models.items():
        assert sent[path].keys() <= set(model.__struct_fields__), path
        model(**sent[path])
    assert msgspec.structs.fields(io_struct.UpdateWeightsFromTensorReqInput)


def test_the_server_opens_a_flattened_bucket() -> None:
    from sglang.srt.managers.io_struct import UpdateWeightsFromTensorReqInput
    from sglang.srt.utils import MultiprocessingSerializer
    from sglang.srt.weight_sync.tensor_bucket import FlattenedTensorBucket

    named = list(ModuleSource(nn.Linear(3, 2), torch.bfloat16).tensors())
    blob = base64.b64encode(packed(flattened(named), 0)).decode()
    request = UpdateWeightsFromTensorReqInput(
        serialized_named_tensors=[base64.b64decode(blob)],
        load_format="flattened_bucket",
        flush_cache=False,
        weight_version="1",
    )
    content = MultiprocessingSerializer.deserialize(request.serialized_named_tensors[0])
    bucket = FlattenedTensorBucket(
        flattened_tensor=content["flattened_tensor"], metadata=content["metadata"]
    )
    for (name, tensor), (found, value) in zip(named, bucket.reconstruct_tensors(), strict=True):
        assert name == found
        assert torch.equal(tensor, value)


def test_the_routes_are_there() -> None:
    from sglang.srt.entrypoints.http_server import app

    there = {
        (method, route.path)
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
    }
    assert set(FakeSglang().routes()) <= there


def test_every_option_of_the_command_line_is_known(tmp_path: Path) -> None:
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    config = LaunchConfig(context_tokens=4096, cuda_graphs=False, sleep=True)
    place = ServerPlacement(model=tmp_path, log=tmp_path / "log", port=8000, seed=1)
    command = sglang_command(config, place)
    given = parser.parse_args(list(command[command.index("sglang.launch_server") + 1 :]))
    assert (given.max_running_requests, given.random_seed) == (256, 1)
    assert given.enable_deterministic_inference
    assert given.enable_fp32_lm_head
