"""The settings that docs/objectives.md gives for each method are ones that a run can have."""

import re
from pathlib import Path

import pytest

from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError
from wideseek_core.config import load_config
from wideseek_rl import GroupRelativeConfig, TorchTrainerConfig
from wideseek_rl.algorithm.token_weights import NAMED

TEXT = (Path(__file__).parents[1] / "docs/objectives.md").read_text("utf-8")
METHODS = dict(re.findall(r"^\| ([^|]+) \| `((?:rl|trainer)\.[^`]+=[^`]+)` \|", TEXT, re.MULTILINE))


def settings(method: str) -> TrainConfig:
    return load_config(TrainConfig, METHODS[method].split())


def algorithm(method: str) -> GroupRelativeConfig:
    found = settings(method).rl.algorithm
    assert isinstance(found, GroupRelativeConfig)
    return found


def test_the_table_has_every_method() -> None:
    assert {"GRPO", "Dr. GRPO", "RLOO", "DAPO", "GSPO", "CISPO", "Dr. MAS"} < set(METHODS)
    assert sum(method.startswith("asynchronous with") for method in METHODS) == 3


@pytest.mark.parametrize("method", METHODS)
def test_the_settings_of_a_method_change_something(method: str) -> None:
    assert settings(method) != load_config(TrainConfig, [])


def test_methods_differ_where_their_papers_do() -> None:
    assert algorithm("RLOO").advantage.baseline == "leave_one_out"
    assert algorithm("Dr. GRPO").advantage.std == "none"
    assert algorithm("DAPO").reward.weights["length"] == -1
    assert settings("DAPO").rl.schedule.kind == "dynamic"
    assert algorithm("GSPO").weighting == ("group", "rollout_turns", "turn_tokens")
    assert settings("CISPO").rl.loss.clip_low == 1
    assert algorithm("Dr. MAS").advantage.unit == "turn"
    correction = settings("asynchronous with IcePop")
    assert isinstance(correction.trainer, TorchTrainerConfig)
    assert correction.trainer.recompute_logprobs
    assert correction.rl.loss.correction.bounds == (0.5, 5.0)


def test_the_lists_of_named_weightings_are_as_documented() -> None:
    named = dict(re.findall(r"`(\w+)`\s+is\s+`\[([\w, ]+)\]`", TEXT))
    assert {name: tuple(scales.split(", ")) for name, scales in named.items()} == NAMED


@pytest.mark.parametrize("kind", ["tis", "mis", "icepop"])
def test_a_correction_without_log_probabilities_of_the_trainer_is_refused_at_once(
    kind: str,
) -> None:
    with pytest.raises(ConfigError, match=rf"kind={kind} needs trainer\.recompute_logprobs=true"):
        load_config(TrainConfig, [f"rl.loss.correction.kind={kind}"])
