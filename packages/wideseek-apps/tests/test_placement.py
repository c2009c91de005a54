"""What a placement makes of a configuration, and what is shown of it."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wideseek_apps.placement import resolved
from wideseek_apps.placement_plan import placement_text, steps_of
from wideseek_apps.processes import open_processes
from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError, Task, TextGold
from wideseek_core.config import load_config
from wideseek_rl.cluster.config import LocalPlacement, RayPlacement
from wideseek_rl.cluster.local import visible_gpus
from wideseek_rl.cluster.plan import plan
from wideseek_rl.rollout.sampler import PromptSampler

EIGHT = (
    "placement.trainer.gpus=4",
    "placement.engines.replicas=2",
    "placement.engines.gpus=2",
    "policy.engine.kind=vllm",
)


def config(*settings: str) -> TrainConfig:
    return load_config(TrainConfig, list(settings))


def test_engines_and_trainer_are_divided_as_placed() -> None:
    found = resolved(
        config(*EIGHT, "trainer.kind=nemo_aligner", "placement.trainer.tensor_parallel=2")
    )
    trainer, engine = found.trainer, found.policy.engine
    assert (trainer.tensor_parallel, trainer.data_parallel) == (2, 2)  # pyright: ignore
    assert engine.replicas == 2  # pyright: ignore
    assert engine.launch.tensor_parallel == 2  # pyright: ignore
    assert engine.launch.memory_share == 0.85  # pyright: ignore
    assert engine.sync.transfer == "nccl"  # pyright: ignore


def test_engines_get_the_interpreter_of_their_placement() -> None:
    found = resolved(config(*EIGHT, "placement.engines.python=other/python")).policy.engine
    assert found.launch.python == Path("other/python")  # pyright: ignore
    assert found.launch.program == ()  # pyright: ignore


def test_stages_take_their_part_of_the_ranks() -> None:
    nemo = ("trainer.kind=nemo_aligner", "placement.trainer.tensor_parallel=2")
    trainer = resolved(config(*EIGHT, *nemo, "trainer.pipeline_parallel=2")).trainer
    assert (trainer.tensor_parallel, trainer.data_parallel) == (2, 1)  # pyright: ignore
    with pytest.raises(ConfigError, match=r"4 ranks can't be divided by tensor_parallel=2 times"):
        resolved(config(*EIGHT, *nemo, "trainer.pipeline_parallel=3"))


def test_stages_of_an_engine_take_their_part_of_its_gpus() -> None:
    stages = ("placement.engines.gpus=4", "policy.engine.launch.pipeline_parallel=2")
    found = resolved(config(*EIGHT, *stages, "policy.engine.launch.tensor_parallel=2"))
    assert found.policy.engine.launch.tensor_parallel == 2  # pyright: ignore
    assert resolved(found).policy.engine == found.policy.engine


def test_servers_that_run_elsewhere_take_no_gpus_of_this_host() -> None:
    placement = config(
        "placement.trainer.gpus=1",
        "placement.engines.gpus=4",
        "placement.engines.base_urls=[http://elsewhere:8000]",
    ).placement
    assert placement is not None
    assert [process.name for process in plan(placement, (0,))] == ["trainer-0"]


def test_engines_on_the_trainers_gpus_take_their_part_and_weights_by_ipc() -> None:
    found = resolved(config(*EIGHT, "placement.engines.colocated=true"))
    engine = found.policy.engine
    assert (engine.launch.memory_share, engine.sync.transfer) == (0.4, "ipc")  # pyright: ignore


def test_without_a_placement_nothing_is_changed() -> None:
    assert resolved(given := config("policy.engine.kind=vllm")) is given


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("placement.trainer.gpus=4", "placement.trainer.tensor_parallel=2"), "FSDP2"),
        (("placement.trainer.gpus=1", "placement.engines.gpus=1"), "policy.engine.kind=vllm or"),
        (("placement.judge.model=x",), r"placement\.judge: judge\.kind=normalized"),
        (("placement.retrieval.settings=[]",), r"world\.tools\.search\.kind=server"),
        (("placement.trainer.processes=2", "policy.dtype=bfloat16"), r"policy\.dtype=bfloat16"),
        (("policy.engine.kind=vllm", "placement.engines.colocated=true"), "trainer has no GPUs"),
        ((*EIGHT, "placement.kind=ray", "placement.engines.colocated=true"), "to one process"),
        (
            (*EIGHT, "placement.engines.gpus=6", "placement.engines.colocated=true"),
            "6 GPUs of each replica, but the trainer, .* has 4",
        ),
        (
            (*EIGHT, "policy.engine.launch.pipeline_parallel=3"),
            r"engines\.gpus=2: not divided by policy\.engine\.launch\.pipeline_parallel=3",
        ),
        (
            (*EIGHT, "policy.engine.launch.tensor_parallel=4"),
            r"tensor_parallel=4: with placement\.engines\.gpus=2 it is 2; leave it out",
        ),
        (
            (
                "judge.kind=llm",
                "placement.judge.model=x",
                "placement.judge.gpus=3",
                "placement.judge.launch.pipeline_parallel=2",
            ),
            r"judge\.gpus=3: not divided by placement\.judge\.launch\.pipeline_parallel=2",
        ),
    ],
)
def test_what_can_not_be_placed_is_said(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(config(*settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("placement.trainer.gpus=3 placement.trainer.tensor_parallel=2", "does not divide 3"),
        (
            "placement.engines.replicas=2 placement.engines.base_urls=[http://a:1]",
            "2 replicas, but 1 address",
        ),
        ("placement.engines.base_urls=[nowhere]", r"expected an http\(s\) address"),
        (
            "placement.engines.replicas=2 placement.engines.base_urls=[http://a:1,http://a:1/]",
            "http://a:1 is there twice",
        ),
        (
            "placement.judge.model=x placement.judge.launch.api_processes=2",
            "launch.api_processes is a setting of vLLM alone",
        ),
        ("placement.kind=slurm", "placement"),
    ],
)
def test_contradictions_are_refused(settings: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(*settings.split())


def test_processes_get_gpus_of_their_own_in_order() -> None:
    placement = config(*EIGHT).placement
    assert isinstance(placement, LocalPlacement)
    found = {process.name: process.gpus for process in plan(placement, range(8))}
    assert found["trainer-3"] == (3,)
    assert (found["engine-0"], found["engine-1"]) == ((4, 5), (6, 7))
    with pytest.raises(ConfigError, match="want 8 GPUs, this host has 7"):
        plan(placement, range(7))


def test_colocated_engines_go_round_the_trainers_gpus() -> None:
    placement = config(*EIGHT, "placement.engines.colocated=true").placement
    assert placement is not None
    found = {process.name: process.gpus for process in plan(placement, (4, 5, 6, 7))}
    assert (found["engine-0"], found["engine-1"]) == ((4, 5), (6, 7))


def test_processes_of_a_cluster_fill_nodes() -> None:
    placement = config(*EIGHT, "placement.kind=ray", "placement.gpus_per_node=4").placement
    assert isinstance(placement, RayPlacement)
    nodes = {process.name: process.node for process in plan(placement, range(4))}
    assert (nodes["trainer-3"], nodes["engine-0"], nodes["engine-1"]) == (0, 1, 1)
    alone = placement.model_copy(
        update={"engines": placement.engines.model_copy(update={"gpus": 8})}
    )
    with pytest.raises(ConfigError, match="wants 8 GPUs together, a node has 4"):
        plan(alone, range(4))


def test_resources_of_what_is_no_role_are_refused() -> None:
    with pytest.raises(ConfigError, match="'engines' is no role; roles are trainer, engine"):
        config("placement.kind=ray", "placement.resources={engines: {big: 1}}")


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6")
    assert visible_gpus() == (4, 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-abc")
    with pytest.raises(ConfigError, match="needs numbers"):
        visible_gpus()


def test_a_plan_names_commands_memory_time_and_what_is_missing() -> None:
    text = placement_text(
        config(
            *EIGHT,
            "policy.model=models/Qwen3-4B",
            "rl.steps=10",
            "judge.kind=llm",
            "placement.judge.model=models/judge",
        )
    )
    lines = text.splitlines()
    assert all(line.startswith("#") for line in lines)
    assert "9 GPUs, 7 processes, 1 node" in lines[0]
    assert sum("wideseek_rl.trainers.remote.torch_ranks" in line for line in lines) == 4
    engine = next(line for line in lines if "--seed 2" in line)
    assert "CUDA_VISIBLE_DEVICES=6,7" in engine
    assert "--tensor-parallel-size 2" in engine
    assert any("sglang.launch_server --model-path models/judge" in line for line in lines)
    assert any(line.startswith("# Memory of a trainer's GPU: ") for line in lines)
    assert any("The run: 10 steps" in line for line in lines)
    missing = lines[lines.index("# Missing here:") :]
    assert any("policy.model: no such folder: models/Qwen3-4B" in line for line in missing)
    assert any("placement.judge.model: no such folder: models/judge" in line for line in missing)


@pytest.mark.parametrize(
    ("trainer", "replicas", "fits"), [(1, 1, True), (1, 2, True), (1, 3, False), (2, 3, True)]
)
def test_a_plan_counts_every_replica_on_the_trainers_gpus(
    trainer: int, replicas: int, fits: bool
) -> None:
    """A third of a GPU each: the trainer has room beside two of them."""
    text = placement_text(
        config(
            f"placement.trainer.gpus={trainer}",
            f"placement.engines.replicas={replicas}",
            "placement.engines.gpus=1",
            "placement.engines.colocated=true",
            "placement.engines.memory_share=0.33",
            "policy.engine.kind=vllm",
        )
    )
    assert ("do not fit a GPU" not in text) == fits


def test_a_plan_does_not_take_replicas_of_one_gpu_for_several() -> None:
    def sampling(*settings: str) -> str:
        text = placement_text(config("policy.engine.kind=vllm", *settings))
        found = re.search(r"sampling [\d,.]+ s", text)
        assert found is not None
        return found.group()

    load = ("rl.prompts_per_step=4096", "placement.workload.sampled_tokens=20000")
    own = ("placement.trainer.gpus=1", "placement.engines.gpus=1")
    shared = (*own, *load, "placement.engines.colocated=true")
    once, twice = (sampling(*shared, f"placement.engines.replicas={n}") for n in (1, 2))
    assert once == twice
    assert sampling(*own, *load, "placement.engines.replicas=2") != once


def test_a_plan_counts_the_parameters_of_a_small_model_in_millions() -> None:
    text = placement_text(config(*EIGHT, "policy.model=start"))
    assert re.search(r"# Model: [1-9]\.\d\d million parameters\.", text)


def test_a_plan_shows_the_ports_and_the_folder_of_the_real_commands(tmp_path: Path) -> None:
    model = tmp_path / "step_000030" / "model"
    model.mkdir(parents=True)
    text = placement_text(
        config(*EIGHT, f"policy.model={model.parent}", "policy.engine.launch.port=9000")
    )
    assert f"serve {model} " in text
    assert ["--port 9000" in text, "--port 9001" in text] == [True, True]


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        (("rl.steps=null", "rl.epochs=1", "rl.prompts_per_step=4"), 2),
        (("rl.steps=null", "rl.epochs=2", "rl.prompts_per_step=4"), 5),
        (("rl.steps=null", "rl.epochs=1", "rl.prompts_per_step=40"), 1),
        (("rl.steps=7",), 7),
    ],
)
def test_a_plan_counts_the_steps_that_the_run_makes(settings: tuple[str, ...], made: int) -> None:
    given = config(*EIGHT, "placement.workload.prompts=10", *settings)
    assert given.placement is not None
    assert steps_of(given, given.placement) == made
    tasks = [Task(id=str(n), question="?", gold=TextGold(answers=("x",))) for n in range(10)]
    sampler = PromptSampler(tasks, per_step=given.rl.prompts_per_step, seed=0)
    assert (given.rl.steps or sampler.steps(given.rl.epochs)) == made


@pytest.mark.parametrize(("limit", "said"), [("90", True), ("null", False)])
def test_a_plan_says_which_time_ends_the_run(limit: str, said: bool) -> None:
    text = placement_text(config(*EIGHT, f"rl.max_seconds={limit}"))
    assert ("# The run ends after 90 s of training at the latest (rl.max_seconds)." in text) == said


async def test_services_are_started_and_their_addresses_are_used(tmp_path: Path) -> None:
    program = f"[{sys.executable}, -m, wideseek_core.testing.fake_sglang]"
    given = config(
        f"folder={tmp_path}",
        "judge.kind=llm",
        "placement.judge.model=models/judge-30b",
        "placement.judge.gpus=0",
        f"placement.judge.launch.program={program}",
    )
    async with open_processes(given) as processes:
        endpoint = processes.config.judge.endpoint
        assert endpoint.base_url != given.judge.endpoint.base_url
        assert (endpoint.base_url[-3:], endpoint.model) == ("/v1", "judge-30b")
        assert (tmp_path / "logs" / "judge-0.log").exists()
        await asyncio.sleep(0)


def test_the_command_shows_the_plan_below_the_settings() -> None:
    settings = ["placement.trainer.processes=2", "placement.engines.replicas=3"]
    command = [sys.executable, "-m", "wideseek_apps", "train", *settings, "--dry-run"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "processes: 2" in shown
    assert shown.count("python -m wideseek_rl.engines.builtin.worker") == 3


def test_the_plan_shows_no_keys_of_its_commands() -> None:
    settings = [
        "placement.engines.replicas=2",
        "policy.engine.kind=vllm",
        "policy.engine.launch.environment.HF_TOKEN=hunter2",
        "policy.engine.launch.extra_args=[--api-key,hunter2]",
    ]
    command = [sys.executable, "-m", "wideseek_apps", "train", *settings, "--dry-run"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "hunter2" not in shown
    assert shown.count("'HF_TOKEN=[redacted]'") == 2
    assert shown.count("--api-key '[redacted]'") == 2
