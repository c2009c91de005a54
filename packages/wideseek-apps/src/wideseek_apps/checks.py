"""What can be seen to be wrong with a configuration before the first second of work."""

import difflib
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from wideseek_agents import TeamConfig
from wideseek_agents.policies import SglangPolicyConfig, VllmPolicyConfig
from wideseek_apps.policy import HelperPolicy, LocalPolicy, PolicyConfig, RolloutPolicy
from wideseek_apps.profiles import local_folder
from wideseek_apps.team import TeamsConfig
from wideseek_apps.world import AtlasWorld, CorpusWorld, WorldConfig
from wideseek_core import TableGold, Task
from wideseek_core.config import Config, secret
from wideseek_core.counting import counted
from wideseek_core.errors import ConfigError
from wideseek_judge import JudgeConfig
from wideseek_rl.models import smollm2
from wideseek_rl.models.lora_config import adapter_folder
from wideseek_rl.models.names import CHECKPOINTS, START

_HUB_NAME = re.compile(
    r"(?:(?:https?://)?(?:www\.)?huggingface\.co/|hf://)?([\w-][\w.-]*)/([\w.-]+)/?"
)
_LOCAL = ("models", "runs", CHECKPOINTS)
"""Usual folders of one's own, which are no names of the hub."""
_BUNDLED = (START, smollm2.NAME)


def check_team(config: TeamsConfig) -> None:
    """Raises `ConfigError` for a model or a world that is not there."""
    check_world(config.world)
    for name in ("policy", "subagent_policy", "summarizer"):
        policy: HelperPolicy | None = getattr(config, name)
        if policy is not None:
            check_policy(name, policy)
    check_summarizer(config.team, config.summarizer)


def check_summarizer(team: TeamConfig, summarizer: HelperPolicy | None) -> None:
    """Raises `ConfigError` if pages shall be summarized and nobody does, or the reverse."""
    if team.use_access_summary and summarizer is None:
        raise ConfigError(
            "team.use_access_summary needs a model: set summarizer, for example "
            "summarizer.kind=rollout for the model of the rollouts"
        )


def check_judge_policy(judge: JudgeConfig, policy: HelperPolicy | None) -> None:
    """Raises `ConfigError` for a judging model that no judge asks, or that is not there."""
    if policy is None:
        return
    if judge.kind != "llm":
        raise ConfigError(f"judge_policy is asked by judge.kind=llm alone, not by {judge.kind}")
    check_policy("judge_policy", policy)


def check_policy(key: str, policy: HelperPolicy) -> None:
    """Raises `ConfigError` for a model or adapter that is not there, or a key that is not set."""
    if isinstance(policy, RolloutPolicy):
        return
    if isinstance(policy, LocalPolicy):
        if find_spec("torch") is None:
            raise ConfigError(f"{key}.kind=local needs torch: pip install wideseek-rl")
        if policy.model == smollm2.NAME:
            smollm2.find_base()
        elif policy.model != START:
            check_model_folder(f"{key}.model", policy.model)
        if policy.adapter is not None:
            adapter_folder(policy.adapter, f"{key}.adapter")
        return
    if isinstance(policy, VllmPolicyConfig | SglangPolicyConfig):
        check_model_folder(f"{key}.tokenizer", str(policy.tokenizer))
    variable: str = getattr(policy, "api_key_env", "") or ""
    if variable and secret(variable) is None and not _has_default_key(policy, variable):
        raise ConfigError(f"{key}.api_key_env: the environment variable {variable} is not set")


def _has_default_key(policy: PolicyConfig, variable: str) -> bool:
    """Whether the variable is the class's own default, which a local server does not need."""
    return variable == type(policy).model_fields["api_key_env"].default


def check_model_folder(key: str, model: str) -> None:
    """Raises `ConfigError` if there is no such folder; says how to get a model of the hub."""
    folder = local_folder(model)
    if folder.is_dir():
        if not (folder / "tokenizer.json").is_file():
            raise ConfigError(f"{key}: {folder} holds {_instead_of_a_model(folder)}")
        return
    if folder.exists():
        raise ConfigError(f"{key}: {folder} is a file; give the model's folder")
    raise ConfigError(f"{key}: no such folder: {model}{_way_to_a_model(key, model)}")


def _instead_of_a_model(folder: Path) -> str:
    if any((folder / name).exists() for name in ("rl_config.json", CHECKPOINTS)):
        return "a training run without a checkpoint yet"
    return "no model: there is no tokenizer.json in it"


def _way_to_a_model(key: str, model: str) -> str:
    """What helps whoever gave a name that is no folder."""
    named = _HUB_NAME.fullmatch(model)
    if named is not None and named[1] not in _LOCAL:
        target = f"models/{named[2]}"
        return (
            f". To get it from the Hugging Face Hub: pip install huggingface-hub && "
            f"hf download {named[1]}/{named[2]} --local-dir {target}, then give {key}={target}"
        )
    near = difflib.get_close_matches(model.lower(), _BUNDLED, n=1)
    return f"; did you mean {near[0]!r}?" if near and key.endswith(".model") else ""


def check_world(world: WorldConfig) -> None:
    """Raises `ConfigError` for files that are not there."""
    if isinstance(world, CorpusWorld):
        for key, path in (("pages", world.pages), ("corpus", world.corpus)):
            if path is not None and not path.is_file():
                raise ConfigError(f"world.{key}: no such file: {path}")


def check_data(key: str, data: Config, world: WorldConfig, *, world_given: bool) -> None:
    """Raises `ConfigError` for tasks that are not there, or that only seem to have a world."""
    kind: str = getattr(data, "kind", "")
    if kind != "atlas" and isinstance(world, AtlasWorld) and not world_given:
        raise ConfigError(
            f"{key}.kind={kind}: tasks of your own need a world to search. Set world.kind=corpus "
            "world.pages=PAGES.jsonl for pages of your own, world.kind=tools for an index, a "
            "server or the web, or world.kind=atlas if they are about the bundled atlas"
        )


def check_apart(tasks: Sequence[Task], held_out: Sequence[Task], key: str) -> None:
    """Raises `ConfigError` for tasks that are trained on and measured, under whatever id."""
    known = {mark for task in held_out for mark in _marks(task)}
    shared = [task.id for task in tasks if not known.isdisjoint(_marks(task))]
    if shared:
        raise ConfigError(
            f"data and {key} share {counted(len(shared), 'task')} by id, question or table, "
            f"{shared[0]} for example"
        )


def _marks(task: Task) -> Iterator[str]:
    """What only tasks that are the same have in common: id, question, table of some rows."""
    yield f"id {task.id}"
    yield f"question {' '.join(task.question.casefold().split())}"
    if isinstance(task.gold, TableGold) and task.gold.text.count("\n") > 2:
        yield f"table {' '.join(task.gold.text.split())}"
