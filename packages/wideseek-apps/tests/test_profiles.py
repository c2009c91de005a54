"""Prompts and limits of the start policy belong to it alone."""

import json
from pathlib import Path

import pytest

from wideseek_agents.policies import SglangPolicyConfig, VllmPolicyConfig
from wideseek_apps.ask_config import AskConfig
from wideseek_apps.evaluation import WideSearchConfig, wider
from wideseek_apps.policy import EndpointPolicy, LocalPolicy
from wideseek_apps.profiles import language_warnings, local_folder, profile_of
from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError
from wideseek_core.config import load_config


@pytest.mark.parametrize("cls", [AskConfig, WideSearchConfig, TrainConfig])
def test_the_start_policy_is_used_as_it_was_taught(cls: type[AskConfig]) -> None:
    team = load_config(cls, []).team
    rule = "report" if cls is AskConfig else "reference"
    assert (team.calls, team.lead.prompts, team.lead.max_turns) == (rule, "compact", 6)
    assert (team.subagent.prompts, team.subagent.max_turns, team.single.max_turns) == (
        "compact",
        6,
        40,
    )
    assert cls().team == team


def test_an_endpoint_gets_the_general_defaults() -> None:
    config = load_config(AskConfig, ["policy.kind=endpoint", "policy.model=m"])
    assert (config.team.calls, config.team.lead.prompts) == ("report", "")
    assert (config.team.prompts, config.team.lead.max_turns) == ("default", 10)


def test_an_endpoint_subagent_of_the_start_policy_gets_the_general_defaults() -> None:
    given = ["subagent_policy.kind=endpoint", "subagent_policy.model=m"]
    team = load_config(AskConfig, given).team
    assert (team.lead.prompts, team.subagent.prompts) == ("compact", "")
    assert (team.lead.max_turns, team.subagent.max_turns) == (6, 20)


def test_a_served_model_is_known_by_its_folder(tmp_path: Path) -> None:
    served = ["policy.kind=vllm", "policy.base_urls=[http://127.0.0.1:8000]"]
    taught = load_config(AskConfig, [*served, f"policy.tokenizer={local_folder('start')}"]).team
    assert (taught.lead.prompts, taught.lead.max_turns) == ("compact", 6)
    general = load_config(AskConfig, [*served, f"policy.tokenizer={tmp_path}"]).team
    assert (general.lead.prompts, general.lead.max_turns) == ("", 10)


@pytest.mark.parametrize("inside", ["", "adapter"])
def test_an_adapter_says_what_it_was_taught(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    profile = {"languages": ["en"], "team": {"prompts": "compact", "lead": {"max_turns": 3}}}
    (tmp_path / inside / "wideseek.json").write_text(json.dumps(profile))
    for base in ("start", "a-general-model"):
        policy = {"kind": "local", "model": base, "adapter": tmp_path}
        found = profile_of(policy)
        assert found is not None
        assert found.team["lead"] == {"max_turns": 3}
    (tmp_path / inside / "wideseek.json").unlink()
    assert profile_of({"kind": "local", "model": "start", "adapter": tmp_path}) is not None
    assert profile_of({"kind": "local", "model": "no", "adapter": tmp_path}) is None


@pytest.mark.parametrize(("cls", "turn"), [(AskConfig, 512), (TrainConfig, 320)])
@pytest.mark.parametrize("limits", [{"window": 900, "turn_tokens": 70}, {"window": 8192}])
def test_an_adapter_brings_its_limits(
    tmp_path: Path, cls: type[AskConfig], turn: int, limits: dict[str, int]
) -> None:
    (tmp_path / "wideseek.json").write_text(json.dumps(limits))
    policy = load_config(cls, [f"policy.adapter={tmp_path}"]).policy
    assert isinstance(policy, LocalPolicy)
    assert (policy.window, policy.turn_tokens) == (
        limits["window"],
        limits.get("turn_tokens", turn),
    )
    given = [f"policy.adapter={tmp_path}", "policy.window=100", "policy.turn_tokens=10"]
    policy = load_config(cls, given).policy
    assert isinstance(policy, LocalPolicy)
    assert (policy.window, policy.turn_tokens) == (100, 10)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_servers_keep_the_limits_of_their_model(tmp_path: Path, kind: str) -> None:
    (tmp_path / "wideseek.json").write_text('{"window": 900, "turn_tokens": 70}')
    for key in ("policy", "subagent_policy"):
        served = [f"{key}.kind={kind}", f"{key}.base_urls=[http://127.0.0.1:8000]"]
        found = load_config(AskConfig, [*served, f"{key}.tokenizer={tmp_path}"])
        policy = getattr(found, key)
        assert (policy.context_tokens, policy.turn_tokens) == (900, 70)
    served = [setting.replace("subagent_policy", "fixed_role.policy") for setting in served]
    fixed = load_config(TrainConfig, [*served, f"fixed_role.policy.tokenizer={tmp_path}"])
    assert fixed.fixed_role is not None
    policy = fixed.fixed_role.policy
    assert isinstance(policy, VllmPolicyConfig | SglangPolicyConfig)
    assert (policy.context_tokens, policy.turn_tokens) == (900, 70)


def test_given_settings_come_before_the_models() -> None:
    config = load_config(AskConfig, ["team.lead.max_turns=3", "team.workflow=single_agent"])
    assert (config.team.lead.max_turns, config.team.lead.prompts) == (3, "compact")
    assert config.team.workflow == "single_agent"


def test_a_sweep_of_no_turns_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.max_turns\.0: .* greater than or equal to 1"):
        load_config(WideSearchConfig, ["sweep.max_turns=[0, 2]"])


@pytest.mark.parametrize("values", ["[2, 2]", "[-1]", "5", "[a]", "null"])
def test_a_sweep_of_odd_values_is_refused_in_one_line(values: str) -> None:
    with pytest.raises(ConfigError, match=r"^sweep") as caught:
        load_config(WideSearchConfig, [f"sweep.max_subagents={values}"])
    assert "\n" not in str(caught.value)


def test_a_sweep_of_width_zero_is_the_single_agent() -> None:
    team = load_config(WideSearchConfig, []).team
    assert wider(team, 0).workflow == "single_agent"
    assert wider(team, 2).lead.requests_per_turn == 2
    alone = team.model_copy(update={"workflow": "single_agent"})
    assert wider(alone, 2).workflow == "multi_agent"


@pytest.mark.parametrize(("language", "warned"), [("en", 0), ("en-GB", 0), ("zh", 1), ("de", 1)])
def test_a_language_that_a_model_was_not_taught_is_said(language: str, warned: int) -> None:
    endpoint = EndpointPolicy(model="m", base_url="http://127.0.0.1:1/v1")
    models = {"policy": endpoint, "subagent_policy": LocalPolicy(), "other": None}
    lines = language_warnings(models, language)
    assert len(lines) == warned
    expected = f"the model of subagent_policy knows only en, and not the language {language}"
    assert all(line == expected for line in lines)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ([], "report"),
        (["team.top_k=2", "team.lead.max_turns=2"], "report"),
        (["team.calls=reference"], "reference"),
    ],
)
def test_a_question_has_broken_calls_written_again(settings: list[str], rule: str) -> None:
    team = load_config(AskConfig, settings).team
    assert (team.calls, team.lead.prompts) == (rule, "compact")


@pytest.mark.parametrize(
    ("settings", "repeats"),
    [
        ([], 3),
        (["policy.temperature=0.5"], 3),
        (["policy.max_repeats=5"], 5),
        (["policy.max_repeats=null"], None),
        (["policy.kind=vllm", "policy.tokenizer=m", "policy.base_urls=[http://127.0.0.1:1]"], 3),
        (["subagent_policy.kind=local"], 3),
    ],
)
def test_a_question_has_no_endless_lists(settings: list[str], repeats: int | None) -> None:
    config = load_config(AskConfig, settings)
    assert getattr(config.policy, "max_repeats", "none") == repeats
    assert getattr(config.subagent_policy, "max_repeats", 3) == 3


def test_measurements_sample_as_training_does() -> None:
    for cls in (WideSearchConfig, TrainConfig):
        assert getattr(load_config(cls, []).policy, "max_repeats", 0) is None


@pytest.mark.parametrize("cls", [AskConfig, WideSearchConfig, TrainConfig])
@pytest.mark.parametrize(
    ("config", "window"),
    [('{"max_position_embeddings": 8192}', 8192), ('{"max_position_embeddings": 131072}', 32000)],
)
def test_a_general_model_gets_its_own_window(
    cls: type[AskConfig], config: str, window: int, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(config)
    settings = [f"policy.model={tmp_path}"]
    policy = load_config(cls, settings).policy
    assert isinstance(policy, LocalPolicy)
    assert (policy.window, policy.turn_tokens) == (window, window)
    policy = load_config(cls, [*settings, "policy.window=900"]).policy
    assert isinstance(policy, LocalPolicy)
    assert (policy.window, policy.turn_tokens) == (900, 900)
    (tmp_path / "wideseek.json").write_text("{}")
    policy = load_config(cls, settings).policy
    assert isinstance(policy, LocalPolicy)
    assert (policy.window, policy.turn_tokens) == (4096, 320 if cls is TrainConfig else 512)
