"""Policies over servers that already run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer
from wideseek_agents.policies import SglangPolicyConfig, VllmPolicyConfig, open_served_policy
from wideseek_core import ConfigError, Finish, Message, PolicyUnavailable
from wideseek_core.testing import FakeEngine, FakeSglang, FakeVllm

HELLO = Message(role="user", content="Which moons has Neptune?")


@pytest.fixture
def folder(tokenizer: ChatTokenizer, tmp_path: Path) -> Path:
    size = tokenizer.vocab_size + 7  # embeddings are often padded
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": size, "model_type": "qwen3"}))
    inner: Tokenizer = tokenizer._full  # pyright: ignore[reportPrivateUsage]
    inner.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_agents_talk_to_a_model_on_servers(
    kind: str, folder: Path, tokenizer: ChatTokenizer
) -> None:
    engine = FakeEngine(vocab_size=tokenizer.vocab_size, eos_ids=())
    fake = FakeVllm(engine=engine) if kind == "vllm" else FakeSglang(engine=engine)
    config_class = VllmPolicyConfig if kind == "vllm" else SglangPolicyConfig
    async with fake.serving():
        config = config_class(
            base_urls=(fake.url,), tokenizer=folder, turn_tokens=6, context_tokens=900
        )
        async with open_served_policy(config) as policy:
            conversation = policy.open((), seed=3)
            first = await conversation.reply([HELLO])
            second = await conversation.reply([Message(role="tool", content="Triton")])
            await conversation.close()
        body = fake.server.requests[-1].json()
    assert first.finish is Finish.LENGTH
    assert len(first.response_ids) == 6
    assert second.prompt_ids[: len(first.prompt_ids)] == first.prompt_ids
    assert body["sampling_params"]["stop_token_ids"] == [tokenizer.end_id]


async def test_a_policy_of_servers_that_nobody_runs_says_so(folder: Path) -> None:
    config = VllmPolicyConfig(base_urls=("http://127.0.0.1:9",), tokenizer=folder)
    with pytest.raises(PolicyUnavailable, match=r"127\.0\.0\.1:9.*can't be reached"):
        async with open_served_policy(config):
            pass


@pytest.mark.parametrize("content", [None, "{}", "[", '{"vocab_size": "many"}'])
async def test_the_size_of_the_vocabulary_must_be_known(folder: Path, content: str | None) -> None:
    path = folder / "config.json"
    path.unlink() if content is None else path.write_text(content)
    config = VllmPolicyConfig(base_urls=("http://127.0.0.1:9",), tokenizer=folder)
    with pytest.raises(ConfigError, match=r"tokenizer: .*config\.json"):
        async with open_served_policy(config):
            pass


def test_servers_are_sampled_without_torch() -> None:
    modules = "wideseek_agents.policies, wideseek_agents.engines"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
