"""The four apps as a user meets them: whole runs, resumed runs, one clear line for bad input."""

import asyncio
import json
import re
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from wideseek_agents.prompts import BUILT_IN, PromptSet
from wideseek_apps.ask_config import AskConfig
from wideseek_apps.evaluation import QaConfig, WideSearchConfig
from wideseek_apps.policy import LocalPolicy
from wideseek_apps.sft_config import SftConfig
from wideseek_apps.training_config import TrainConfig
from wideseek_core import Config, ConfigError, load_config
from wideseek_core.testing import wait_until
from wideseek_rl import GroupRelativeConfig, OptimizerConfig

from .conftest import ROOT, TINY, Ended, Run, World, command

TALK = ("policy.turn_tokens=16", "policy.engine.processes=0")
STEPS = (
    "rl.prompts_per_step=2",
    "rl.group_size=2",
    "rl.checkpoint.every_steps=1",
    "data.limit=8",
    "evaluation.data.limit=3",
)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def wide(policy: Path, world: World, tmp_path: Path) -> list[str]:
    """Arguments of a wide evaluation that works."""
    return [
        f"policy.model={policy}",
        *TALK,
        "world.kind=corpus",
        f"world.pages={world.pages}",
        "data.kind=jsonl",
        f"data.path={world.wide}",
        f"run.folder={tmp_path / 'run'}",
    ]


@pytest.fixture
def training(policy: Path, tmp_path: Path) -> list[str]:
    """Arguments of a training run of three steps that works, on the atlas."""
    return [f"folder={tmp_path / 'run'}", f"policy.model={policy}", *TALK, *STEPS, "rl.steps=3"]


# Whole runs.


def test_the_start_policy_is_a_whole_model_folder(policy: Path) -> None:
    names = {path.name for path in policy.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "training.json"} <= names
    report = json.loads((policy / "training.json").read_text())
    assert report["training"]["updates"] >= 1
    assert report["config"]["team"]["tool_settings"] == {"mine": {"api_key": "[redacted]"}}
    assert not any(b"hunter2" in path.read_bytes() for path in policy.iterdir() if path.is_file())


def trained_steps(folder: Path) -> list[int]:
    """The steps that were trained; the measures before and after training have lines too."""
    rows = lines(folder / "metrics.jsonl")
    return [row["step"] for row in rows if "reward/mean" in row]


def test_training_leaves_everything_it_promises(training: list[str], run: Run, call: Run) -> None:
    ended = run("train", *training, "policy.engine.processes=2")
    assert ended.code == 0, ended.err
    folder = Path(training[0].partition("=")[2])
    assert trained_steps(folder) == [1, 2, 3]
    assert len(lines(folder / "before" / "results.jsonl")) == 3
    assert len(lines(folder / "after" / "results.jsonl")) == 3
    assert len(list((folder / "episodes").iterdir())) == 3
    assert list((folder / "tensorboard").iterdir())
    assert json.loads((folder / "config.json").read_text())["rl"]["steps"] == 3
    change = json.loads((folder / "change.json").read_text())
    assert "item_f1" in json.dumps(change)
    assert "Item F1" in ended.out
    trained = f"policy.model={folder / 'checkpoints' / 'step_000003'}"
    assert f"wideseek widesearch {trained}" in ended.out
    assert call("ask", "question=Which moons?", trained, *TALK).code == 1


def copied(model: Path, to: Path) -> Path:
    """A model that says nothing of how it was taught."""
    return Path(shutil.copytree(model, to, ignore=shutil.ignore_patterns("wideseek.json")))


@pytest.mark.skipif(find_spec("peft") is None, reason="needs wideseek-rl[lora]")
def test_an_adapter_is_used_as_it_was_trained(
    training: list[str], policy: Path, tmp_path: Path, call: Run
) -> None:
    base = copied(policy, tmp_path / "base")
    team = ["team.prompts=compact", "team.lead.max_turns=2", "team.subagent.max_turns=3"]
    team += ["team.top_k=2", "team.tool_settings.mine.api_key=hunter2"]
    model = [f"policy.model={base}", "policy.window=1024", "policy.turn_tokens=16"]
    lora = ["trainer.lora={rank: 2, alpha: 4}", "rl.steps=2", "rl.prompts_per_step=1"]
    best = ["rl.evaluate_every=2", "rl.checkpoint.best_metric=format_valid"]
    few = ["evaluation.data.limit=1", "rl.checkpoint.every_steps=2"]
    ended = call("train", *training, *lora, *best, *few, *team, *model)
    assert ended.code == 0, ended.err
    checkpoints = tmp_path / "run" / "checkpoints"
    used = [
        [f"policy.model={base}", f"policy.adapter={checkpoints / name}"]
        for name in ("step_000002", "step_000002/adapter", "best", "best/adapter")
    ]
    for model in (
        *used,
        [f"policy.model={tmp_path / 'run'}"],
        [f"policy.model={checkpoints}/best"],
    ):
        found = load_config(WideSearchConfig, model)
        roles = (found.team.lead, found.team.subagent, found.team.single)
        assert [role.prompts for role in roles] == ["compact"] * 3
        assert [role.max_turns for role in roles] == [2, 3, 50]
        assert (found.team.top_k, found.team.tool_settings) == (2, {})
        assert isinstance(found.policy, LocalPolicy)
        assert (found.policy.window, found.policy.turn_tokens) == (1024, 16)
    assert load_config(WideSearchConfig, [f"policy.model={base}"]).team.lead.max_turns == 10
    assert call("ask", "Which moons?", *used[0], "policy.engine.processes=0").code == 1


@pytest.mark.skipif(find_spec("peft") is None, reason="needs wideseek-rl[lora]")
def test_a_demonstrated_adapter_is_used_as_it_was_taught(
    policy: Path, tmp_path: Path, call: Run
) -> None:
    base = copied(policy, tmp_path / "base")
    prompts = shutil.copytree(BUILT_IN / "compact", tmp_path / "mine")
    taught = [f"team.prompts={prompts}", "team.lead.max_turns=4", "max_tokens=5000"]
    lora = [f"parent={base}", f"folder={tmp_path / 'made'}", "sft.lora={rank: 2, alpha: 4}"]
    ended = call("sft", *TINY, *lora, *taught)
    assert ended.code == 0, ended.err
    shutil.rmtree(prompts)
    made = tmp_path / "made"
    for adapter in (made, made / "adapter"):
        model = [f"policy.model={base}", f"policy.adapter={adapter}"]
        found = load_config(WideSearchConfig, model)
        kept = str(adapter / "wideseek-prompts" / "mine")
        assert (found.team.lead.prompts, found.team.lead.max_turns) == (kept, 4)
        assert "en" in PromptSet.load(kept).languages
        assert isinstance(found.policy, LocalPolicy)
        assert found.policy.window == 5000


def test_training_that_runs_out_of_time_says_so(training: list[str], call: Run) -> None:
    ended = call("train", *training, "rl.steps=500", "rl.max_seconds=0.01")
    assert ended.code == 0, ended.err
    assert "Training ended at rl.max_seconds=0.01, before rl.steps=500." in ended.out


@pytest.mark.skipif(find_spec("swanlab") is not None, reason="the package is installed")
def test_a_missing_logger_is_reported_before_any_work(
    training: list[str], tmp_path: Path, call: Run
) -> None:
    complaint = call("train", *training, "rl.loggers=[{kind: swanlab}]").complaint
    assert "pip install" in complaint
    assert not (tmp_path / "run" / "before").exists()


def test_a_judge_that_nobody_serves_is_reported_before_any_work(
    training: list[str], tmp_path: Path, call: Run
) -> None:
    judge = ["judge.kind=llm", "judge.endpoint.base_url=http://127.0.0.1:9/v1"]
    complaint = call("train", *training, *judge).complaint
    assert complaint.startswith("JudgeError: judge.endpoint")
    assert "127.0.0.1:9" in complaint
    assert not (tmp_path / "run" / "before").exists()


def test_a_killed_training_goes_on(
    training: list[str], run: Run, surroundings: dict[str, str]
) -> None:
    folder = Path(training[0].partition("=")[2])
    more = [*training, "rl.steps=400", "policy.engine.processes=2"]
    running = subprocess.Popen(command("train", more), env=surroundings, stderr=subprocess.DEVNULL)
    wait_until(lambda: (folder / "checkpoints" / "step_000002").is_dir())
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert sum(map(samples, children)) == 2
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_until(lambda: not any(map(samples, children)))
    done = len(trained_steps(folder))
    ended = run("train", *training, f"rl.steps={done + 2}")
    assert ended.code == 0, ended.err
    assert "resuming from step" in ended.err
    assert trained_steps(folder) == list(range(1, done + 3))


def samples(pid: str) -> bool:
    """Whether this is a living process that samples."""
    try:
        return b"wideseek_rl.engines.builtin.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_training_measures_its_validation_sets_and_keeps_the_best(
    training: list[str], call: Run
) -> None:
    folder = Path(training[0].partition("=")[2])
    sets = (
        "evaluation.validation.first={kind: atlas, split: dev, limit: 2}",
        "evaluation.validation.second={kind: atlas, split: test, limit: 1}",
    )
    ended = call("train", *training, "rl.evaluate_every=2", *sets)
    assert ended.code == 0, ended.err
    rows = [row for row in lines(folder / "metrics.jsonl") if "eval/first/score" in row]
    assert [row["step"] for row in rows] == [2, 3]
    assert all("eval/second/item_f1" in row for row in rows)
    assert len(lines(folder / "validation" / "first" / "step_000002" / "results.jsonl")) == 2
    means = [(row["eval/first/score"] + row["eval/second/score"]) / 2 for row in rows]
    best = json.loads((folder / "checkpoints" / "best" / "state.json").read_text())
    assert best["step"] == rows[means.index(max(means))]["step"]
    assert best["best"] == pytest.approx(max(means))


def test_training_further_measures_again(training: list[str], call: Run) -> None:
    folder = Path(training[0].partition("=")[2])
    assert call("train", *training, "rl.steps=1").code == 0
    assert call("train", *training, "rl.steps=2").code == 0
    settings = json.loads((folder / "after" / "config.json").read_text())["settings"]
    assert settings["step"] == 2
    assert (folder / "after_step_1" / "results.jsonl").is_file()


def test_a_training_with_other_settings_wants_another_folder(
    training: list[str], call: Run
) -> None:
    assert call("train", *training, "rl.steps=1").code == 0
    ended = call("train", *training, "rl.steps=1", "policy.turn_tokens=8")
    assert ended.code == 2
    assert "policy.turn_tokens was 16, is 8" in ended.err.splitlines()[-1]


@pytest.mark.parametrize(("app", "kind", "count"), [("widesearch", "jsonl", 2), ("qa", "qa", 3)])
def test_an_evaluation_goes_on_where_it_was(
    app: str, kind: str, count: int, wide: list[str], world: World, tmp_path: Path, call: Run
) -> None:
    data = world.wide if app == "widesearch" else world.qa
    arguments = [*wide, f"data.kind={kind}", f"data.path={data}"]
    ended = call(app, *arguments)
    assert ended.code == 0, ended.err
    assert "report.html" in ended.out
    results = tmp_path / "run" / "results.jsonl"
    whole = results.read_text()
    assert whole.count("\n") == count
    results.write_text(whole[: whole.rindex("\n", 0, -1) + 20])
    assert call(app, *arguments).code == 0
    again = results.read_text()
    assert again.count("\n") == count
    assert again.splitlines()[:-1] == whole.splitlines()[:-1]
    assert call(app, *arguments).code == 0
    assert results.read_text() == again


def test_a_sweep_evaluates_every_width(wide: list[str], tmp_path: Path, call: Run) -> None:
    ended = call("widesearch", *wide, "sweep.max_subagents=[1,2]", "data.limit=1")
    assert ended.code == 0, ended.err
    for value in (1, 2):
        assert (tmp_path / "run" / f"subagents_{value}" / "results.jsonl").is_file()
    assert (tmp_path / "run" / "sweep.html").is_file()


def test_ask_says_honestly_that_there_is_no_answer(wide: list[str], call: Run) -> None:
    ended = call("ask", "Which moons", "circle Neptune?", *wide[:5])
    assert ended.code == 1, ended.err
    assert ended.out.startswith("No answer: the agent ended with ")
    assert "agent 0 lead: Which moons circle Neptune?" in ended.err


async def test_ask_draws_the_table_and_the_sources_of_an_endpoint(
    wide: list[str], run: Run
) -> None:
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        ended = await asyncio.to_thread(
            run,
            "ask",
            "Which moons circle Neptune?",
            *wide[3:5],
            "policy.kind=endpoint",
            "policy.model=any",
            f"policy.base_url=http://127.0.0.1:{port}/v1",
            "team.prompts=default",
            "team.workflow=single_agent",
        )
    assert ended.code == 0, ended.err
    table, _, sources = ended.out.partition("Sources")
    assert "Moon" in table
    assert "Triton" in table
    assert sources.split() == ["1.", "moons:Triton"]


SAYS = (
    '<tool_call>{"name": "access", "arguments": '
    '{"url": "moons:Triton", "info_to_extract": "radius"}}</tool_call>',
    "```markdown\n| Moon | Radius |\n| --- | --- |\n| Triton | 1353 |\n```",
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Plays an endpoint: reads a page in the first turn, answers in the second."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = head.partition("content-length: ")[2].partition("\r\n")[0]
    body = (await reader.readexactly(int(length or 0))).decode()
    text = SAYS["1353 km" in body]
    reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    content = json.dumps(reply).encode()
    ending = f"content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + ending + content)
    await writer.drain()
    writer.close()


# Help and bad input.


@pytest.mark.parametrize("app", ["train", "widesearch", "qa", "ask"])
def test_help_lists_fields_and_exits_with_zero(app: str, call: Run) -> None:
    ended = call(app, "--help", "all")
    assert (ended.code, ended.err) == (0, "")
    listed = ended.out.splitlines()
    assert "policy.model: str = start" in listed
    assert "With world.kind=atlas (the default):" in listed


def test_help_of_training_shows_the_defaults_that_hold(call: Run) -> None:
    listed = call("train", "--help", "all").out.splitlines()
    assert "evaluation.data.split: train | dev | test = dev" in listed
    assert f"rl.group_size: int = {TrainConfig().rl.group_size}" in listed


CONFIGS: dict[str, type[Config]] = {
    "train": TrainConfig,
    "sft": SftConfig,
    "widesearch": WideSearchConfig,
    "qa": QaConfig,
    "ask": AskConfig,
}


def load(app: str, arguments: Sequence[str]) -> Config:
    """The config of a command that leaves to its reader what only the reader has."""
    for _ in range(5):
        try:
            return load_config(CONFIGS[app], arguments)
        except ConfigError as error:
            missing = re.fullmatch(r"missing key '(.+)'", str(error))
            if missing is None:
                raise
            arguments = [*arguments, f"{missing[1]}=mine"]
    raise AssertionError(arguments)


def commands(text: str) -> list[tuple[str, str]]:
    """App and arguments of every command that a text shows."""
    return re.findall(r"uv run apps/(\w+) ([^`\n]+)", text)


def test_the_single_agent_has_the_budget_of_the_team() -> None:
    single = load("train", [str(ROOT / "configs" / "train" / "single_agent.yaml")])
    assert isinstance(single, TrainConfig)
    team = single.team.model_copy(update={"workflow": "multi_agent"})
    assert single.model_copy(update={"team": team}) == TrainConfig(folder=single.folder)


def test_the_public_recipe_keeps_the_papers_algorithm() -> None:
    path = str(ROOT / "configs" / "train" / "qwen3_4b.yaml")
    recipe = load("train", [path, "data.path=x.jsonl", "evaluation.data.path=y.jsonl"])
    assert isinstance(recipe, TrainConfig)
    assert recipe.rl.algorithm == GroupRelativeConfig(selection="outcome_agents")
    assert recipe.trainer.optimizer.grad_clip == OptimizerConfig().grad_clip


@pytest.mark.parametrize(("app", "shown"), commands((ROOT / "README.md").read_text("utf-8")))
def test_the_commands_of_the_readme_can_be_typed(
    app: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = [word.replace("=...", "=x") for word in shlex.split(shown)]
    given = [word for word in words if "=" in word or word.endswith(".yaml")]
    assert load(app, given)


@pytest.mark.parametrize(
    ("app", "argument", "complaint"),
    [
        ("train", "rl.grop_size=2", "ConfigError: unknown key 'rl.grop_size'; did you mean"),
        ("train", "rl.steps=many", "ConfigError: rl.steps: input should be a valid integer"),
        ("train", "nowhere.yaml", "ConfigError: no such config file: nowhere.yaml"),
        ("train", "policy.temperature=0", "ConfigError: policy.temperature must be"),
        ("train", "policy.max_repeats=3", "ConfigError: policy.max_repeats is not for training"),
        ("train", "policy.top_p=0.9", "ConfigError: policy.top_p below 1"),
        ("train", "policy.model=nowhere", "ConfigError: policy.model: no such folder: nowhere"),
        ("train", "policy.device=tpu9", "ConfigError: no device 'tpu9' here"),
        ("train", "evaluation.data.split=train", "ConfigError: "),
        ("widesearch", "data.limt=2", "ConfigError: unknown key 'data.limt'; did you mean"),
        ("widesearch", "data.limit=0", "ConfigError: data.limit: input should be greater"),
        ("widesearch", "policy.kind=endpoint", "ConfigError: missing key 'policy.model'"),
        ("qa", "judge.mode=kind", "ConfigError: judge.mode: "),
        ("ask", "team.workflow=both", "ConfigError: team.workflow: "),
        ("ask", "--verbose", "ConfigError: unknown option '--verbose'"),
        ("train", "rl.steps=", "ConfigError: 'rl.steps=': no value"),
        ("train", "=3", "ConfigError: '=3': the key has an empty part"),
    ],
)
def test_a_bad_argument_is_one_line(app: str, argument: str, complaint: str, call: Run) -> None:
    ended = call(app, *(["question=x"] if app == "ask" else []), argument)
    assert ended.complaint.startswith(complaint)
    assert ended.out == ""


def test_a_start_policy_replaces_nothing_but_a_model(tmp_path: Path, call: Run) -> None:
    (tmp_path / "thesis.txt").touch()
    complaint = call("sft", f"folder={tmp_path}").complaint
    assert complaint == f"ConfigError: folder: {tmp_path} holds something else than a model"
    assert (tmp_path / "thesis.txt").exists()


def test_ask_wants_a_question(run: Run) -> None:
    assert run("ask").complaint.startswith("ConfigError: no question")


def test_a_bad_argument_is_one_line_for_the_shell_too(run: Run) -> None:
    assert run("qa", "data.limt=2").complaint.startswith("ConfigError: unknown key 'data.limt'")


def test_missing_files_are_named(wide: list[str], tmp_path: Path, call: Run) -> None:
    none = tmp_path / "none.jsonl"
    assert call("widesearch", *wide, f"data.path={none}").complaint.endswith(f"{none}")
    assert call("widesearch", *wide, f"world.pages={none}").complaint.endswith(f"{none}")


@pytest.mark.parametrize("key", ["data.path", "world.pages"])
def test_a_malformed_row_is_named_by_file_and_line(
    key: str, wide: list[str], world: World, tmp_path: Path, call: Run
) -> None:
    bad = tmp_path / "bad.jsonl"
    good = world.wide if key == "data.path" else world.pages
    bad.write_text(f'{good.read_text().splitlines()[0]}\n{{"question": 3, "url"\n')
    assert call("widesearch", *wide, f"{key}={bad}").complaint.startswith(f"DataError: {bad}:2: ")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("size", [0, 100])
def test_a_truncated_checkpoint_is_refused(
    name: str, size: int, wide: list[str], policy: Path, tmp_path: Path, call: Run
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(policy, broken)
    file = broken / name
    file.write_bytes(file.read_bytes()[:size])
    assert str(file) in call("widesearch", *wide, f"policy.model={broken}").complaint


def test_a_damaged_training_checkpoint_is_not_taken_for_whole(
    training: list[str], call: Run
) -> None:
    assert call("train", *training, "rl.steps=1").code == 0
    folder = Path(training[0].partition("=")[2])
    weights = folder / "checkpoints" / "step_000001" / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    ended = call("train", *training, "rl.steps=2")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"CheckpointError: {weights}: damaged")


def test_an_index_of_another_world_is_refused(
    wide: list[str], surroundings: dict[str, str], tmp_path: Path, call: Run
) -> None:
    assert call("widesearch", *wide).code == 0
    (index,) = built(surroundings, "moons:Triton")
    tools = [
        "world.kind=tools",
        f"world.tools.search.path={index}",
        f"world.tools.pages.path={index}",
        "world.tools.search.fingerprint=0123456789ab",
    ]
    kept = [word for word in wide if not word.startswith("world.")]
    complaint = call("widesearch", *kept, *tools, f"run.folder={tmp_path / 'other'}").complaint
    assert complaint.startswith(f"DataError: {index}")
    assert "0123456789ab" in complaint


def test_a_half_built_index_is_refused(wide: list[str], tmp_path: Path, call: Run) -> None:
    half = tmp_path / "half"
    (half / "shard").mkdir(parents=True)
    kept = [word for word in wide if not word.startswith("world.")]
    tools = [f"world.tools.{part}.path={half}" for part in ("search", "pages")]
    complaint = call("widesearch", *kept, "world.kind=tools", *tools).complaint
    assert complaint.startswith(f"CorruptFile: {half} ")


def built(surroundings: dict[str, str], word: str) -> Sequence[Path]:
    """Index folders of the session whose page store holds a word."""
    found = Path(surroundings["WIDESEEK_CACHE"]).glob("indexes/[!.]*/pages.sqlite")
    return [path.parent for path in found if word.encode() in path.read_bytes()]


@pytest.mark.parametrize("app", ["widesearch", "ask"])
def test_an_endpoint_that_nobody_serves_is_told_at_once(
    app: str, wide: list[str], call: Run
) -> None:
    endpoint = [
        "policy.kind=endpoint",
        "policy.model=any",
        "policy.base_url=http://127.0.0.1:9/v1",
        "team.prompts=default",
    ]
    arguments = wide[3:] if app == "widesearch" else ["question=x", *wide[3:5]]
    ended = call(app, *arguments, *endpoint)
    assert ended.complaint.startswith(
        "PolicyUnavailable: http://127.0.0.1:9/v1 (any): can't be reached"
    )


def test_a_folder_that_is_a_file_is_named(wide: list[str], tmp_path: Path, call: Run) -> None:
    (tmp_path / "file").touch()
    ended = call("widesearch", *wide, f"run.folder={tmp_path / 'file'}")
    assert str(tmp_path / "file") in ended.complaint


def files_of_at_most(size: int) -> Callable[[], None]:
    """What a full disk does to a process: writes beyond `size` bytes of a file fail."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def last_line(ended: Ended) -> str:
    """The complaint of a run that had said before how far it was."""
    assert ended.code == 2, f"exit {ended.code}: {ended.err}"
    assert "Traceback" not in ended.err
    return ended.err.splitlines()[-1]


def test_a_full_disk_ends_an_index_in_one_line_and_is_taken_up_again(
    wide: list[str], world: World, tmp_path: Path, call: Run, run: Run
) -> None:
    pages = tmp_path / "pages.jsonl"
    shutil.copyfile(world.pages, pages)
    ended = run("widesearch", *wide, f"world.pages={pages}", limit=files_of_at_most(3000))
    assert last_line(ended)
    ended = call("widesearch", *wide, f"world.pages={pages}")
    assert ended.code == 0, ended.err


def test_a_full_disk_ends_an_evaluation_in_one_line(
    wide: list[str], tmp_path: Path, call: Run, run: Run
) -> None:
    assert call("widesearch", *wide).code == 0
    results = tmp_path / "run" / "results.jsonl"
    whole = results.read_text()
    results.write_text(whole[: whole.index("\n") + 1])
    ended = run("widesearch", *wide, limit=files_of_at_most(len(whole) - 10))
    assert str(tmp_path / "run") in last_line(ended)
    assert call("widesearch", *wide).code == 0
    assert len(lines(results)) == 2


def test_a_full_disk_leaves_no_half_checkpoint(
    training: list[str], tmp_path: Path, call: Run, run: Run
) -> None:
    assert call("train", *training, "rl.steps=1").code == 0
    ended = run("train", *training, "rl.steps=2", limit=files_of_at_most(50_000))
    assert last_line(ended)
    checkpoints = tmp_path / "run" / "checkpoints"
    assert [path.name for path in checkpoints.glob("step_*")] == ["step_000001"]
    assert call("train", *training, "rl.steps=2").code == 0
