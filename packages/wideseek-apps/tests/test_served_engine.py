"""vLLM and SGLang as rollout engines of a training run, with fakes as the servers' programs."""

import sys
from pathlib import Path

import pytest

from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError, Sampling
from wideseek_core.config import load_config
from wideseek_rl import ModelConfig, PolicyModel, open_engine
from wideseek_rl.engines.control.config import LaunchConfig
from wideseek_rl.engines.served_config import SglangEngineConfig, VllmEngineConfig


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_replicas_are_started_and_sampled(kind: str, tmp_path: Path) -> None:
    program = (sys.executable, "-m", f"wideseek_core.testing.fake_{kind}")
    launch = LaunchConfig(program=program, max_running=4)
    config_class = VllmEngineConfig if kind == "vllm" else SglangEngineConfig
    config = config_class(replicas=2, launch=launch, logs=tmp_path)
    async with open_engine(config, PolicyModel(ModelConfig())) as engine:
        made = await engine.generate([5, 6], session="a", sampling=Sampling(max_tokens=3, seed=1))
        await engine.close_session("a")
    assert len(made.ids) == 3
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_a_training_run_names_its_engine() -> None:
    config = load_config(TrainConfig, ["policy.engine.kind=sglang", "policy.engine.replicas=2"])
    assert isinstance(config.policy.engine, SglangEngineConfig)
    builtin = load_config(TrainConfig, ["policy.engine.processes=0"])
    assert builtin.policy.engine.kind == "builtin"


async def test_a_missing_vllm_is_named() -> None:
    with pytest.raises(ConfigError, match="needs vLLM: uv sync --extra vllm"):
        async with open_engine(VllmEngineConfig(), PolicyModel(ModelConfig())):
            pass
