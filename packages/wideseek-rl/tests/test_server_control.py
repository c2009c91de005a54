"""Servers as child processes, their command lines, and checksums of tensors."""

import asyncio
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from wideseek_core import TrainError
from wideseek_core.ports import free_port
from wideseek_core.testing import in_movable_time, let_pass, until
from wideseek_rl.engines.control.commands import (
    ARRAY_ROUTE,
    FLOAT32_HEAD_EXTENSION,
    OUTPUTS_AT_END,
    WORKER_EXTENSION,
    sglang_command,
    vllm_command,
)
from wideseek_rl.engines.control.config import LaunchConfig, ServerPlacement
from wideseek_rl.engines.control.process import running_server
from wideseek_rl.engines.control.protocol import Checksums, parsed_version
from wideseek_rl.engines.control.sglang import SglangControl
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.engines.control.vllm_worker import ChecksumExtension
from wideseek_rl.engines.served_config import VllmEngineConfig
from wideseek_rl.sync.checksum import SentTensors, server_names, sha256
from wideseek_rl.sync.digest import digest

FAKES = {
    "vllm": (sys.executable, "-m", "wideseek_core.testing.fake_vllm"),
    "sglang": (sys.executable, "-m", "wideseek_core.testing.fake_sglang"),
}


def place(tmp_path: Path, **changes: object) -> ServerPlacement:
    given = {"model": tmp_path, "log": tmp_path / "logs" / "server.log", "port": 8000, "seed": 3}
    return ServerPlacement.model_validate({**given, **changes})


def options(command: tuple[str, ...]) -> dict[str, str]:
    follow = (*command[1:], "")
    return {name: value for name, value in zip(command, follow, strict=True) if name[:2] == "--"}


def test_knobs_become_options_of_vllm(tmp_path: Path) -> None:
    config = LaunchConfig(
        tensor_parallel=2,
        pipeline_parallel=3,
        memory_share=0.4,
        max_running=64,
        context_tokens=8192,
        cuda_graphs=False,
        sleep=True,
        api_processes=4,
        extra_args=("--swap-space", "1"),
        environment={"NCCL_DEBUG": "INFO"},
    )
    command = vllm_command(config, place(tmp_path, devices=(2, 3), transfer="nccl"), (0, 32, 0))
    given = options(command)
    assert given["--tensor-parallel-size"] == "2"
    assert given["--pipeline-parallel-size"] == "3"
    assert given["--gpu-memory-utilization"] == "0.4"
    assert given["--max-num-seqs"] == "64"
    assert given["--max-model-len"] == "8192"
    assert given["--weight-transfer-config"] == '{"backend": "nccl"}'
    assert given["--logprobs-mode"] == "processed_logprobs"
    assert given["--seed"] == "3"
    assert given["--api-server-count"] == "4"
    assert given["--hf-overrides"] == '{"head_dtype": "float32"}'
    assert given["--worker-extension-cls"] == WORKER_EXTENSION
    assert given["--middleware"] == ARRAY_ROUTE
    assert {"--enforce-eager", "--enable-sleep-mode", "--enable-scale-out"} <= given.keys()
    assert command[-2:] == ("--swap-space", "1")
    assert {"VLLM_SERVER_DEV_MODE=1", "CUDA_VISIBLE_DEVICES=2,3", "NCCL_DEBUG=INFO"} <= set(command)


def test_older_vllm_does_not_know_scale_out(tmp_path: Path) -> None:
    command = vllm_command(LaunchConfig(), place(tmp_path), (0, 23, 0))
    assert "--enable-scale-out" not in command
    assert "--hf-overrides" not in command
    assert "--enforce-eager" not in command


@pytest.mark.parametrize(
    ("version", "float32_head", "extension"),
    [
        ((0, 23, 0), True, FLOAT32_HEAD_EXTENSION),
        ((0, 31, 2), True, FLOAT32_HEAD_EXTENSION),
        ((0, 23, 0), False, WORKER_EXTENSION),
        ((0, 32, 0), True, WORKER_EXTENSION),
        ((), True, WORKER_EXTENSION),
    ],
)
def test_older_vllm_gets_its_float32_head_from_an_extension(
    tmp_path: Path, version: tuple[int, ...], float32_head: bool, extension: str
) -> None:
    command = vllm_command(LaunchConfig(float32_head=float32_head), place(tmp_path), version)
    assert command[command.index("--worker-extension-cls") + 1] == extension


@pytest.mark.parametrize(
    ("version", "given", "expected"),
    [
        ((0, 23, 0), {}, True),
        ((0, 28, 1), {}, True),
        ((0, 29, 0), {}, False),  # outputs carry the version of the weights
        ((), {}, False),
        ((0, 23, 0), {"outputs_at_end": False}, False),
        ((0, 23, 0), {"program": ("vllm",)}, False),
    ],
)
def test_older_vllm_hands_outputs_over_at_the_end(
    tmp_path: Path, version: tuple[int, ...], given: dict[str, object], expected: bool
) -> None:
    config = LaunchConfig.model_validate(given)
    found = options(vllm_command(config, place(tmp_path), version)).get("--scheduler-cls")
    assert found == (OUTPUTS_AT_END if expected else None)


def test_what_servers_load_by_name_is_there() -> None:
    for name in (ARRAY_ROUTE, OUTPUTS_AT_END, WORKER_EXTENSION):
        module, _, attribute = name.rpartition(".")
        assert callable(getattr(import_module(module), attribute))


def test_another_interpreter_is_taken_to_have_this_package(tmp_path: Path) -> None:
    config = LaunchConfig(python=Path("other/python"))
    command = vllm_command(config, place(tmp_path), (0, 32))
    assert command[command.index("--worker-extension-cls") + 1].endswith("ChecksumExtension")
    start = command.index("other/python")
    assert command[start : start + 4] == (
        *("other/python", "-m", "vllm.entrypoints.cli.main", "serve"),
    )


def test_a_program_of_the_users_gets_no_extension_of_ours(tmp_path: Path) -> None:
    command = vllm_command(LaunchConfig(program=("vllm",)), place(tmp_path), (0, 32))
    assert not {"--worker-extension-cls", "--middleware"} & set(command)
    assert command[command.index("serve") - 1] == "vllm"


def test_knobs_become_options_of_sglang(tmp_path: Path) -> None:
    config = LaunchConfig(
        tensor_parallel=2, memory_share=0.4, context_tokens=8192, cuda_graphs=False, sleep=True
    )
    command = sglang_command(config, place(tmp_path))
    given = options(command)
    assert (given["--tp-size"], given["--mem-fraction-static"]) == ("2", "0.4")
    assert (given["--random-seed"], given["--weight-version"]) == ("3", "0")
    flags = {"--disable-cuda-graph", "--enable-memory-saver", "--enable-deterministic-inference"}
    assert {*flags, "--enable-fp32-lm-head"} <= given.keys()
    plain = sglang_command(LaunchConfig(float32_head=False, deterministic=False), place(tmp_path))
    assert not {*flags, "--enable-fp32-lm-head"} & set(plain)
    # A paused server can't answer a health check that generates a token.
    assert "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION=false" in command


@pytest.mark.parametrize("kind", FAKES)
async def test_a_server_runs_inside_the_block_with_its_own_process_group(
    kind: str, tmp_path: Path
) -> None:
    config = LaunchConfig(program=FAKES[kind])
    placement = place(tmp_path, port=free_port())
    command = (
        vllm_command(config, placement, (0, 32))
        if kind == "vllm"
        else sglang_command(config, placement)
    )
    url = f"http://127.0.0.1:{placement.port}"
    control = VllmControl(url) if kind == "vllm" else SglangControl(url)
    async with running_server(command, url, placement.log, config) as process:
        assert (await control.inspect()).spans
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    assert process.returncode is not None
    with pytest.raises(TrainError, match=url):
        await control.resume()


async def test_a_server_that_ends_early_shows_the_end_of_its_log(tmp_path: Path) -> None:
    script = "import sys; print('loading'); sys.exit('no GPU found')"
    log = tmp_path / "server.log"
    command = (sys.executable, "-c", script)
    with pytest.raises(TrainError, match=r"exit code 1 before it was healthy(.|\n)*no GPU found"):
        async with running_server(command, "http://127.0.0.1:9", log, LaunchConfig()):
            pass


@in_movable_time
async def test_a_server_that_is_never_healthy_is_stopped(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    config = LaunchConfig(start_timeout_s=1000.0, stop_timeout_s=1000.0)

    async def start() -> None:
        command = (sys.executable, "-c", script)
        async with running_server(command, "http://127.0.0.1:9", tmp_path / "log", config):
            pass

    starting = asyncio.create_task(start())
    await until(lambda: pid.exists() and pid.read_text() != "")
    while not starting.done():
        let_pass(1000)
        await asyncio.sleep(0)
    with pytest.raises(TrainError, match="was not healthy within 1000 s"):
        await starting
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # killed; nobody has asked for its exit code yet


async def test_workers_of_a_server_that_died_are_ended_too(tmp_path: Path) -> None:
    pid, port = tmp_path / "pid", free_port()
    script = (
        "import subprocess, sys, pathlib; "
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"pathlib.Path({str(pid)!r}).write_text(str(worker.pid)); "
        f"from wideseek_core.testing.fake_vllm import main; sys.argv[1:] = ['--port', '{port}']; "
        "main()"
    )
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-c", script)
    async with running_server(command, url, tmp_path / "log", LaunchConfig()) as process:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    await until(lambda: not lives(int(pid.read_text())))


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="no-such-program did not start"):
        async with running_server(
            ("no-such-program",), "http://127.0.0.1:9", tmp_path / "log", LaunchConfig()
        ):
            pass


def test_versions_are_numbers_at_the_beginning() -> None:
    assert parsed_version("0.5.17.post1") == (0, 5, 17)
    assert parsed_version("0.23.0") == (0, 23, 0)
    assert parsed_version(None) == ()


def test_a_digest_depends_on_every_byte_and_its_place() -> None:
    tensor = torch.arange(40, dtype=torch.bfloat16).reshape(5, 8)
    same = digest(tensor)
    assert digest(tensor.clone()) == same
    swapped = tensor.clone()
    swapped[0], swapped[1] = tensor[1], tensor[0]
    assert digest(swapped) != same
    changed = tensor.clone()
    changed[4, 7] += 1
    assert digest(changed) != same
    assert digest(tensor[:4]) != digest(torch.cat([tensor[:4], torch.zeros(1, 8).bfloat16()]))
    assert digest(tensor.t().contiguous().t()) == same  # by content, not by layout
    assert digest(torch.zeros(3, dtype=torch.uint8)) != digest(torch.zeros(2, dtype=torch.uint8))


def test_servers_join_projections_of_one_input() -> None:
    names = [f"layers.0.attn.{part}_proj.weight" for part in "kqvo"]
    names += ["layers.0.mlp.up_proj.weight", "layers.0.mlp.gate_proj.weight", "norm.weight"]
    assert server_names(names) == {
        "layers.0.attn.qkv_proj.weight": (
            "layers.0.attn.q_proj.weight",
            "layers.0.attn.k_proj.weight",
            "layers.0.attn.v_proj.weight",
        ),
        "layers.0.attn.o_proj.weight": ("layers.0.attn.o_proj.weight",),
        "layers.0.mlp.gate_up_proj.weight": (
            "layers.0.mlp.gate_proj.weight",
            "layers.0.mlp.up_proj.weight",
        ),
        "norm.weight": ("norm.weight",),
    }


def test_a_vocabulary_padded_with_zeros_is_still_the_same() -> None:
    tensor = torch.rand(50, 4)
    padded = torch.cat([tensor, torch.zeros(14, 4)])
    reported = Checksums(algorithm="sha256", by_name={"embed.weight": sha256(padded)})
    assert SentTensors({"embed.weight": tensor}).mismatches(reported) == []
    assert SentTensors({"embed.weight": tensor + 1}).mismatches(reported) == ["embed.weight"]


def test_checksums_under_unknown_names_prove_nothing() -> None:
    reported = Checksums(algorithm="sha256", by_name={"other": "x"})
    with pytest.raises(TrainError, match="no checksum under a name"):
        SentTensors({"embed.weight": torch.rand(2, 2)}).mismatches(reported)


def test_the_worker_extension_sums_the_workers_tensors() -> None:
    class Worker(ChecksumExtension):
        def __init__(self) -> None:
            self.module = torch.nn.Linear(3, 2)
            self.model_runner = self

        def get_model(self) -> torch.nn.Module:
            return self.module

    worker = Worker()
    assert worker.wideseek_checksums("[]") == {
        name: digest(parameter) for name, parameter in worker.module.named_parameters()
    }
    assert list(worker.wideseek_checksums('["bias"]')) == ["bias"]


@pytest.mark.parametrize(
    ("settings", "started", "route"),
    [
        ({}, True, "arrays"),
        ({}, False, "generate"),
        ({"launch": {"program": ["vllm"]}}, True, "generate"),
        ({"route": "completions"}, True, "completions"),
        ({"route": "arrays"}, False, "arrays"),
    ],
)
def test_servers_of_our_own_are_asked_by_the_route_that_we_put_in_them(
    settings: dict[str, Any], started: bool, route: str
) -> None:
    config = VllmEngineConfig.model_validate(settings)
    assert config.chosen_route(started=started) == route


def test_another_program_has_no_route_of_ours() -> None:
    with pytest.raises(ValidationError, match="route=arrays is not there"):
        VllmEngineConfig.model_validate({"route": "arrays", "launch": {"program": ["vllm"]}})
