"""A run resumes when its services have moved, and not when another model answers."""

from pathlib import Path

import pytest

from wideseek_apps.evaluation import WideSearchConfig
from wideseek_core import ConfigError
from wideseek_core.config import load_config
from wideseek_core.runs import SERVICE_KEYS, check_resumed_config

SERVED = {
    "policy.kind": "vllm",
    "policy.base_urls": "[http://a:1]",
    "policy.tokenizer": "folder",
    "world.kind": "tools",
    "world.tools.search.kind": "server",
    "world.tools.pages.kind": "server",
    "judge.kind": "llm",
    "summarizer.kind": "endpoint",
    "summarizer.model": "s",
    "summarizer.base_url": "http://s/v1",
}


def load(**changes: str) -> WideSearchConfig:
    settings = SERVED | {key.replace("__", "."): value for key, value in changes.items()}
    return load_config(WideSearchConfig, [f"{key}={value}" for key, value in settings.items()])


@pytest.mark.parametrize(
    "changes",
    [
        {"policy__base_urls": "[http://b:1, http://c:1]"},
        {"policy__max_running": "64", "policy__max_queued": "9"},
        {"policy__probe_timeout_s": "9", "policy__outage_timeout_s": "9"},
        {"summarizer__base_url": "http://t/v1", "summarizer__timeout_s": "9"},
        {"world__tools__search__base_url": "http://b:1"},
        {"world__tools__search__address_file": "addresses"},
        {"world__tools__pages__more_base_urls": "[http://b:1]"},
        {"judge__endpoint__base_url": "http://b/v1", "judge__endpoint__api_key_env": "OTHER"},
        {"judge__cache": "elsewhere", "judge__transcripts": "t.jsonl"},
        {"judge__price__prompt": "2.5", "judge__batch_window_s": "1"},
        {"team__tool_timeout_s": "9", "world__tools__search__timeout_s": "9"},
        {"policy__timeout_s": "9", "policy__api_key_env": "OTHER"},
    ],
)
def test_where_services_are_may_change(changes: dict[str, str]) -> None:
    check_resumed_config(load(), load(**changes), SERVICE_KEYS)


@pytest.mark.parametrize(
    "changes",
    [
        {"policy__temperature": "0.5"},
        {"policy__tokenizer": str(Path("other"))},
        {"policy__context_tokens": "900"},
        {"summarizer__model": "t"},
        {"judge__endpoint__model": "other"},
        {"judge__mode": "reward"},
        {"team__top_k": "5"},
        {"world__tools__search__kind": "ddgs"},
    ],
)
def test_what_shapes_answers_and_scores_may_not(changes: dict[str, str]) -> None:
    (key,) = changes
    with pytest.raises(ConfigError, match=rf"^{key.replace('__', '.')}"):
        check_resumed_config(load(), load(**changes), SERVICE_KEYS)


LOCAL = ("policy.kind=local", "policy.engine.kind=vllm")


@pytest.mark.parametrize(
    "changes",
    [
        ["policy.device=cuda:1"],
        ["policy.engine.launch.host=10.0.0.2", "policy.engine.launch.port=9000"],
        ["policy.engine.launch.start_timeout_s=9", "policy.engine.control.call_timeout_s=9"],
        ["policy.engine.launch.outputs_at_end=false", "policy.engine.launch.api_processes=2"],
    ],
)
def test_where_a_model_of_ones_own_runs_may_change(changes: list[str]) -> None:
    first, second = (load_config(WideSearchConfig, [*LOCAL, *more]) for more in ([], changes))
    check_resumed_config(first, second, SERVICE_KEYS)
