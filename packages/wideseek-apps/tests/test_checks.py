"""What is refused before any work."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wideseek_apps.ask_config import AskConfig
from wideseek_apps.checks import check_apart, check_team
from wideseek_apps.evaluation import QaConfig, WideSearchConfig, check_evaluation
from wideseek_apps.sft_config import SftConfig, check_sft
from wideseek_apps.start_policy import make_start_policy
from wideseek_apps.training_config import TrainConfig, check_train
from wideseek_core import CheckpointError, ConfigError, TableGold, Task, TextGold, load_config
from wideseek_rl.models.manifest import write_manifest


def refused(*arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_evaluation(load_config(WideSearchConfig, arguments))
    return str(caught.value)


def test_a_model_of_the_hub_is_refused_with_the_way_to_get_it() -> None:
    line = refused("policy.model=Qwen/Qwen3-0.6B")
    assert line.startswith("policy.model: no such folder: Qwen/Qwen3-0.6B")
    assert "hf download Qwen/Qwen3-0.6B --local-dir models/Qwen3-0.6B" in line
    for name in ("https://huggingface.co/Qwen/Qwen3-0.6B/", "hf://Qwen/Qwen3-0.6B"):
        assert "hf download Qwen/Qwen3-0.6B --local-dir" in refused(f"policy.model={name}")


@pytest.mark.parametrize("name", ["nowhere", "models/mine", "runs/mine", "./Qwen/Qwen3", "../a/b"])
def test_a_folder_of_ones_own_that_is_not_there_is_named(name: str) -> None:
    assert refused(f"policy.model={name}") == f"policy.model: no such folder: {name}"


def test_a_misspelled_name_of_a_bundled_model_is_recognized() -> None:
    assert refused("policy.model=Start").endswith("Start; did you mean 'start'?")
    assert refused("policy.model=smolLM2").endswith("smolLM2; did you mean 'smollm2'?")


def test_a_folder_without_a_model_is_refused_before_any_work(tmp_path: Path) -> None:
    line = refused(f"policy.model={tmp_path}")
    assert line == f"policy.model: {tmp_path} holds no model: there is no tokenizer.json in it"
    (tmp_path / "checkpoints").mkdir()
    assert refused(f"policy.model={tmp_path}").endswith("a training run without a checkpoint yet")


def test_the_folder_of_a_training_run_means_its_newest_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for step in (10, 9, 1_000_000):
        model = tmp_path / "run" / "checkpoints" / f"step_{step:06d}" / "model"
        model.mkdir(parents=True)
        (model / "tokenizer.json").touch()
        (model / "wideseek.json").write_text('{"team": {"lead": {"max_turns": 7}}}')
    (tmp_path / "run" / "checkpoints" / "best").mkdir()
    newest = str(tmp_path / "run" / "checkpoints" / "step_1000000")
    for name in ("run", "run/", "run/checkpoints", "run/checkpoints/step_1000000"):
        config = load_config(WideSearchConfig, [f"policy.model=~/{name}"])
        check_evaluation(config)
        assert getattr(config.policy, "model", "") == newest
        assert config.team.lead.max_turns == 7


def test_an_adapter_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    line = refused(f"policy.adapter={tmp_path}")
    assert line == f"policy.adapter: no adapter_config.json in {tmp_path}"
    with pytest.raises(ConfigError, match=r"^policy\.adapter: no adapter_config\.json in nowhere$"):
        check_train(load_config(TrainConfig, ["policy.adapter=nowhere"]))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    check_train(load_config(TrainConfig, [f"policy.adapter={tmp_path}"]))


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert "is a file; give the model's folder" in refused(f"policy.model={tmp_path / 'x'}")


@pytest.mark.parametrize(
    "arguments",
    [("data.kind=jsonl", "data.path=mine.jsonl"), ("data.kind=qa", "data.path=mine.jsonl")],
)
def test_tasks_of_ones_own_are_not_searched_in_the_atlas(arguments: tuple[str, ...]) -> None:
    line = refused(*arguments)
    assert "world.kind=corpus world.pages=PAGES.jsonl" in line
    check_evaluation(load_config(QaConfig, [*arguments, "world.kind=atlas"]))


@pytest.mark.parametrize("key", ["data", "evaluation.data"])
def test_nor_are_they_in_training(key: str) -> None:
    config = load_config(TrainConfig, [f"{key}.kind=jsonl", f"{key}.path=mine.jsonl"])
    with pytest.raises(ConfigError, match=f"{key}.kind=jsonl: tasks of your own need a world"):
        check_train(config)


def test_parts_of_the_defaults_can_have_another_kind() -> None:
    config = load_config(TrainConfig, ["rl.algorithm.kind=best_of_group"])
    assert (config.rl.algorithm.kind, config.rl.steps) == ("best_of_group", 60)
    engine = getattr(load_config(AskConfig, ["policy.engine.kind=vllm"]).policy, "engine", None)
    assert getattr(engine, "kind", "") == "vllm"


def test_epochs_are_not_silently_ignored() -> None:
    with pytest.raises(ConfigError, match=r"epochs=2 has no effect where steps=60: set steps=null"):
        load_config(TrainConfig, ["rl.epochs=2"])  # 60 is the command's own default
    assert load_config(TrainConfig, ["rl.epochs=2", "rl.steps=null"]).rl.epochs == 2


def test_missing_pages_are_named() -> None:
    line = refused("world.kind=corpus", "world.pages=none.jsonl")
    assert line == "world.pages: no such file: none.jsonl"


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "policy.kind=endpoint",
        "policy.model=x",
        "policy.api_key_env=MY_OWN_KEY",
        "team.prompts=default",
    ]
    line = refused(*arguments)
    assert line == "policy.api_key_env: the environment variable MY_OWN_KEY is not set"
    monkeypatch.setenv("MY_OWN_KEY", "secret")
    check_team(load_config(WideSearchConfig, arguments))


def test_the_folder_of_a_served_model_must_be_there() -> None:
    served = ["policy.base_urls=[http://127.0.0.1:8000]", "policy.tokenizer=nowhere"]
    for kind in ("vllm", "sglang"):
        line = refused(f"policy.kind={kind}", *served)
        assert line.startswith("policy.tokenizer: no such folder: nowhere")


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds something else than a model"):
        check_sft(SftConfig(folder=tmp_path))
    check_sft(SftConfig(folder=tmp_path / "new"))


DEMONSTRATION = (
    '{"agent": "lead", "task": "t", "messages": [{"role": "user", "content": "?"}, '
    '{"role": "assistant", "content": "!"}]}\n'
)
LISTING = (
    '{"id": "a", "title": "T", "section": "S", "key": "K", "columns": [], "rows": [], '
    '"url": "u", "pages": []}\n'
)


def sft_with(key: str, path: Path) -> SftConfig:
    values = {"demos": {"listings": path}} if key == "demos.listings" else {key: (path,)}
    return SftConfig.model_validate({"folder": path.parent / "new"} | values)


@pytest.mark.parametrize(
    ("key", "content", "problem"),
    [
        ("demonstrations", None, "no file at "),
        ("demonstrations", "", " is empty"),
        ("demonstrations", "\n \n", " is empty"),
        ("demonstrations", "no JSON\n", ":1: "),
        ("demonstrations", LISTING, ":1: agent: Field required"),
        ("demonstrations", '{"messages": []}\n', ":1: agent: Field required"),
        ("demonstrations", DEMONSTRATION.replace("assistant", "tool"), ":1: "),
        ("demonstrations", b"\xff\xfe", ":1: not UTF-8"),
        ("demos.listings", None, "no file at "),
        ("demos.listings", "", " is empty"),
        ("demos.listings", DEMONSTRATION, ":1: "),
        ("demos.listings", LISTING + "{}\n", ":2: id: Field required"),
        ("demos.listings", b"PAR1\xff", ":1: not UTF-8"),
    ],
)
def test_files_that_show_nothing_to_learn_from_are_refused_before_work(
    tmp_path: Path, key: str, content: str | bytes | None, problem: str
) -> None:
    path = tmp_path / "file.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        check_sft(sft_with(key, path))
    line = str(caught.value)
    assert line.startswith(f"{key}: ")
    assert problem in line
    assert str(path) in line
    assert "\n" not in line


def test_files_to_learn_from_are_accepted(tmp_path: Path) -> None:
    for key, content in (("demonstrations", DEMONSTRATION), ("demos.listings", LISTING)):
        (tmp_path / "file.jsonl").write_text(content)
        check_sft(sft_with(key, tmp_path / "file.jsonl"))


@pytest.mark.parametrize(
    "module", ["ask_config", "asking", "evaluation", "training_config", "sft_config"]
)
def test_reading_settings_needs_no_torch(module: str) -> None:
    script = f"import sys, wideseek_apps.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_help_of_no_command_and_no_plan_needs_torch() -> None:
    script = (
        "import sys\n"
        "from wideseek_apps.program import program\n"
        "from wideseek_core.config import HelpRequested\n"
        "for name in program().commands:\n"
        "    try:\n"
        "        program().run([name, '--help'])\n"
        "    except HelpRequested:\n"
        "        assert 'torch' not in sys.modules, name\n"
        "program().run(['train', '--dry-run', 'placement.engines.gpus=0'])\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "# Placement: 0 GPUs" in done.stdout


def test_a_damaged_parent_or_adapter_is_refused_before_any_work(tmp_path: Path) -> None:
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    for file in (model / "tokenizer.json", adapter / "adapter_config.json"):
        file.parent.mkdir()
        file.write_text("{}")
    write_manifest(tmp_path)
    (adapter / "adapter_config.json").write_text("{ }")
    config = SftConfig(folder=tmp_path / "made", parent=model, adapter=tmp_path)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: damaged"):
        make_start_policy(config)
    (model / "tokenizer.json").write_text("{ }")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: damaged"):
        make_start_policy(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("rl.checkpoint.best_metric=f1",), "no metric is named 'f1'; there are score, item_f1,"),
        (
            ("rl.checkpoint.best_metric=wide/item_f1",),
            "no set is named 'wide'; there are evaluation",
        ),
        (("trainer.profile=[2,60]",), r"no update 60, counted from 0, in rl\.steps=60"),
        (("trainer.profile=[120]", "trainer.updates_per_step=2"), "no update 120"),
    ],
)
def test_what_a_run_would_only_come_to_later_is_refused(
    settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_train(load_config(TrainConfig, ["rl.evaluate_every=5", *settings]))


def test_what_a_run_comes_to_is_taken() -> None:
    settings = ("rl.evaluate_every=5", "trainer.profile=[119]", "trainer.updates_per_step=2")
    for metric in ("null", "row_f1", "evaluation/correct"):
        best = f"rl.checkpoint.best_metric={metric}"
        check_train(load_config(TrainConfig, [*settings, best]))
    check_train(load_config(TrainConfig, ["rl.checkpoint.best_metric=unused"]))


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        ("sglang", "launch.api_processes=3", "setting of vLLM alone"),
        ("sglang", "launch.outputs_at_end=false", "setting of vLLM alone"),
        ("vllm", "launch.deterministic=false", "setting of SGLang alone"),
        ("vllm", "sync.release=cache", "launch.sleep=true"),
        ("sglang", "sync.release=all", "launch.sleep=true"),
    ],
)
def test_settings_that_an_engine_could_not_follow_are_refused(
    kind: str, setting: str, message: str
) -> None:
    engine = (f"policy.engine.kind={kind}", f"policy.engine.{setting}")
    with pytest.raises(ConfigError, match=message):
        load_config(TrainConfig, engine)


TABLE = "| Moon | Planet |\n| --- | --- |\n| Io | Jupiter |\n| Titan | Saturn |"


def table(text: str) -> TableGold:
    return TableGold(text=text, key_columns=("Moon",), required_columns=("Moon", "Planet"))


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [
        ({"id": "a"}, True),
        ({"question": "which  moons ARE large?"}, True),
        ({"gold": table(TABLE.replace("| Io", "|  Io"))}, True),
        ({"gold": TextGold(answers=("Io",))}, False),
        ({"gold": table(TABLE.rpartition("\n")[0])}, False),
        ({}, False),
    ],
)
def test_a_task_that_is_trained_on_is_not_measured_under_another_name(
    other: dict[str, Any], is_shared: bool
) -> None:
    def task(**values: Any) -> Task:
        return Task.model_validate(values)

    gold = other.get("gold") or table(TABLE.replace("Io", "Ganymede"))
    trained = [
        task(id="a", question="Which moons are large?", gold=table(TABLE)),
        task(id="b", question="Who found Titan?", gold=TextGold(answers=("Io",))),
        task(id="c", question="What is small?", gold=table(TABLE.rpartition("\n")[0])),
    ]
    measured = [task(id="z", question="Which are small?", gold=gold).model_copy(update=other)]
    if not is_shared:
        check_apart(trained, measured, "evaluation.data")
        return
    with pytest.raises(
        ConfigError, match=r"data and evaluation\.data share 1 task by id, .*, a for"
    ):
        check_apart(trained, measured, "evaluation.data")
