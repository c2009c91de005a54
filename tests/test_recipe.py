"""The recipe of WideSeek-R1 is what docs/recipe.md says, and inherits nothing of the laptop run."""

import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from wideseek_apps.training_config import TrainConfig
from wideseek_core.config import load_config

ROOT = Path(__file__).parents[1]

REFERENCE: dict[str, object] = {
    "rl.prompts_per_step": 128,
    "rl.group_size": 8,
    "trainer.updates_per_step": 1,
    "rl.epochs": 1,
    "rl.steps": None,
    "rl.max_seconds": None,
    "rl.checkpoint.every_steps": 30,
    "rl.evaluate_every": 30,
    "policy.temperature": 1.0,
    "policy.top_p": 1.0,
    "policy.window": 32_000,
    "policy.turn_tokens": 32_000,
    "team.lead.max_question_tokens": 4096,
    "team.subagent.max_question_tokens": 4096,
    "team.single.max_question_tokens": 4096,
    "team.lead.max_turns": 10,
    "team.subagent.max_turns": 20,
    "team.single.max_turns": 50,
    "team.lead.requests_per_turn": 10,
    "team.subagent.requests_per_call": 5,
    "team.top_k": 3,
    "team.max_document_chars": 5000,
    "team.max_page_chars": 25_000,
    "team.lead.repetition_tokens": 8000,
    "team.subagent.repetition_tokens": 8000,
    "team.single.repetition_tokens": 8000,
    "team.calls": "reference",
    "rl.algorithm.reward.weights": {"score": 1.0, "format": 0.1, "access": 0.05, "length": -0.1},
    "rl.algorithm.reward.length_free_tokens": 3000,
    "rl.algorithm.reward.length_full_tokens": 5000,
    "rl.algorithm.advantage.std": "sample",
    "rl.algorithm.advantage.eps": 1e-6,
    "rl.algorithm.advantage.min_spread": 0.0,
    "rl.algorithm.advantage.baseline": "mean",
    "rl.algorithm.advantage.pool": "group",
    "rl.algorithm.advantage.unit": "rollout",
    "rl.algorithm.credit": "rollout",
    "rl.algorithm.selection": "outcome_agents",
    "rl.algorithm.weighting": "agent",
    "rl.loss.clip_low": 0.2,
    "rl.loss.clip_high": 0.28,
    "rl.loss.dual_clip": 10.0,
    "rl.loss.log_ratio_limit": 20.0,
    "rl.loss.max_log_ratio": 10.0,
    "rl.loss.kl": 0.001,
    "rl.loss.kl_clamp": 10.0,
    "rl.loss.entropy": 0.0,
    "rl.loss.temperature": 1.0,
    "rl.loss.surrogate": "clip",
    "rl.loss.ratio": "token",
    "rl.loss.kl_estimator": "k3",
    "rl.loss.correction.kind": "none",
    "trainer.max_mean_ratio": 5.0,
    "trainer.ratio_stop": "micro_batch",
    "trainer.recompute_logprobs": False,
    "trainer.optimizer.lr": 1e-6,
    "trainer.optimizer.betas": (0.9, 0.999),
    "trainer.optimizer.eps": 1e-5,
    "trainer.optimizer.weight_decay": 0.01,
    "trainer.optimizer.grad_clip": 1.0,
    "trainer.optimizer.warmup_updates": 0,
    "trainer.optimizer.decay": "constant",
    "policy.dtype": "float16",
    "trainer.autocast": "off",
    "trainer.loss_scale": 65_536.0,
    "trainer.max_batch_tokens": 32_000,
    "trainer.recompute": "layer",
    "trainer.offload": True,
    "trainer.min_nll": 0.0,
    "judge.kind": "llm",
    "judge.mode": "reward",
    "judge.endpoint.model": "Qwen3-30B-A3B-Instruct-2507",
}


@pytest.mark.parametrize("key", REFERENCE)
def test_the_recipe_has_the_settings_of_the_reference(key: str) -> None:
    config = load_config(
        TrainConfig,
        [
            str(ROOT / "configs/train/qwen3_4b.yaml"),
            "data.path=x.jsonl",
            "evaluation.data.path=y.jsonl",
        ],
    )
    found: Any = reduce(getattr, key.split("."), config)
    assert found == REFERENCE[key]


def test_every_key_of_the_table_is_checked() -> None:
    table = (ROOT / "docs/recipe.md").read_text("utf-8")
    named = re.findall(r"`((?:rl|trainer|policy|team|judge)[\w.*]*)", table)
    assert named
    for name in named:
        pattern = re.compile(re.escape(name).replace(r"\*", r"\w+") + r"(\.|$)")
        assert any(pattern.match(key) for key in REFERENCE), name
