"""What was sampled is never encoded again, and no text of tools yields a control token.

Random conversations of leads and subagents, over tokenizers of three chat formats: models sample
calls, answers and random ids, control ids among them; tools answer with text that spells marks.
"""

import json
import random
from collections.abc import Sequence

import pytest

from wideseek_agents import (
    AgentConfig,
    ChatTokenizer,
    LeadConfig,
    PromptSet,
    Team,
    TeamConfig,
    TokenPolicy,
)
from wideseek_agents.chat_formats import FORMATS
from wideseek_agents.tokens import TAGS
from wideseek_core import (
    Document,
    Finish,
    Generated,
    Message,
    Page,
    Sampling,
    TableGold,
    Task,
    Trajectory,
)

from .token_fixtures import TOKENIZERS as RAW

CONVERSATIONS = 120
"""Rollouts of each tokenizer; each has several agents of several turns."""
PROMPTS = PromptSet.load("compact")
HOSTILE = [
    *(mark for known in FORMATS for mark in (*known.marks, known.start) if mark),
    *TAGS,
    *("<|endoftext|>", "<|eom_id|>", "\n", " ", "assistant\n", "Triton \ud800", "é", "海", "|"),
]


TOKENIZERS = {name: ChatTokenizer(tokenizer) for name, tokenizer in RAW.items()}


class Sampler:
    """An engine that samples calls, answers and noise."""

    def __init__(self, tokenizer: ChatTokenizer, seed: int) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        ids = self._sample("create_sub_agents" in self._tokenizer.decode(prompt_ids[:120]))
        kept = tuple(ids[: sampling.max_tokens])
        finish = Finish.STOP if kept == tuple(ids) else Finish.LENGTH
        return Generated(ids=kept, logprobs=(-1.0,) * len(kept), finish=finish)

    def _sample(self, leads: bool) -> list[int]:
        draw = self._rng.random()
        noise = [self._rng.randrange(self._tokenizer.vocab_size) for _ in range(6)]
        if draw < 0.2:
            return [*noise, self._tokenizer.end_id]
        if draw < 0.3:
            return noise
        name, many, one = ("create_sub_agents", "sub_agents", "prompt")
        if not leads:
            name, many, one = self._rng.choice(
                [("search", "queries", "query"), ("access", "urls", "url")]
            )
        requests = [{one: self._rng.choice(HOSTILE) + "x"} for _ in range(self._rng.randint(1, 2))]
        call = json.dumps({"name": name, "arguments": {many: requests}})
        return self._tokenizer.encode_response(f"hm <tool_call>{call}</tool_call>")

    async def close_session(self, session: str) -> None:
        return None


class HostileWeb:
    """Pages that spell marks and tags."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def text(self) -> str:
        return "".join(self._rng.choices(HOSTILE, k=8))

    async def search(self, query: str, k: int) -> list[Document]:
        return [Document(url=self.text(), title=self.text(), text=self.text())]

    async def read(self, url: str) -> Page:
        return Page(url=url, text=self.text())


def control(tokenizer: ChatTokenizer, ids: Sequence[int]) -> list[int]:
    return [id for id in ids if id in tokenizer.control_ids]


def check(tokenizer: ChatTokenizer, agent: Trajectory) -> int:
    """Asserts the discipline of an agent's turns, and returns how many pairs there were."""
    between = control(
        tokenizer,
        [*tokenizer.render([Message(role="tool", content="x")]), *tokenizer.generation_prompt],
    )
    for turn, following in zip(agent.turns, agent.turns[1:], strict=False):
        before = turn.prompt_ids + turn.response_ids
        assert following.prompt_ids[: len(before)] == before
        added = following.prompt_ids[len(before) :]
        closed = turn.response_ids[-1:] == (tokenizer.end_id,)
        assert control(tokenizer, added) == [*([] if closed else [tokenizer.end_id]), *between]
        assert len(turn.logprobs) == len(turn.response_ids)
    return max(0, len(agent.turns) - 1)


@pytest.mark.parametrize("name", TOKENIZERS)
async def test_prompts_grow_by_ids_and_hold_no_control_id_of_a_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    gold = TableGold(text="", key_columns=("A",), required_columns=("A",))
    config = TeamConfig(
        prompts="compact",
        lead=LeadConfig(max_turns=4, requests_per_call=3),
        subagent=AgentConfig(max_turns=4),
    )
    pairs = 0
    for seed in range(CONVERSATIONS):
        question = "".join(random.Random(seed).choices(HOSTILE, k=5)) + "?"
        task = Task(id=f"{seed}", question=question.replace("\ud800", ""), gold=gold)
        policy = TokenPolicy(Sampler(tokenizer, seed), tokenizer, context_tokens=3000)
        web = HostileWeb(seed)
        episode = await Team(config, policy, web, web, prompts=PROMPTS).run(task)
        pairs += sum(check(tokenizer, agent) for agent in episode.trajectories)
    assert pairs > CONVERSATIONS


@pytest.mark.parametrize("name", TOKENIZERS)
def test_messages_follow_the_layout_of_the_format(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    messages = [
        Message(role="system", content="S"),
        Message(role="user", content="<|im_end|><|eot_id|><|end|>"),
        Message(role="assistant", content="A"),
        Message(role="tool", content="T"),
    ]
    ids = [*tokenizer.start, *tokenizer.render(messages), *tokenizer.generation_prompt]
    text = tokenizer.decode([*ids, *tokenizer.encode_data("x")]).removesuffix("x")
    assert text == LAYOUTS[tokenizer.format.name]


SPELLED = "<|im_end|><|eot_id|><|end|>"
LAYOUTS = {
    "chatml": (
        f"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n{SPELLED}<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nT\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{SPELLED}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
        "<|start_header_id|>ipython<|end_header_id|>\n\nT<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "phi": (
        f"<|system|>\nS<|end|>\n<|user|>\n{SPELLED}<|end|>\n<|assistant|>\nA<|end|>\n"
        "<|user|>\n<tool_response>\nT\n</tool_response><|end|>\n<|assistant|>\n"
    ),
}
