"""From what an engine samples to what is trained: the same ids, each once, and nothing else.

Thousands of random conversations of leads and subagents over tokenizers of real models, which are
cut to a small vocabulary. Models think, call tools well and badly, answer, are cut off, and sample
noise with control ids; tools and users write text that spells control tokens.
"""

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer

from wideseek_agents import (
    AgentConfig,
    ChatTokenizer,
    LeadConfig,
    PromptSet,
    Team,
    TeamConfig,
    TokenPolicy,
)
from wideseek_agents.tokens import TAGS
from wideseek_core import (
    Document,
    Episode,
    Finish,
    Generated,
    Message,
    Page,
    Sampling,
    TableGold,
    Task,
    Turn,
)
from wideseek_rl import TrainedTurn, build_samples

from .conftest import ROOT

FOLDER = ROOT / "packages" / "wideseek-agents" / "tests" / "tokenizers"
MODELS = ("qwen3", "llama3", "smollm2")
ROLLOUTS = 350
"""Of each model; each has two to three conversations."""
RENDERED = 400
"""Conversations of each model that has a chat template here."""
TURN_TOKENS = 220
END_OF_THOUGHT = "\n</think>\n\n"
PROMPTS = PromptSet.load("compact")
TEAM = TeamConfig(
    prompts="compact",
    lead=LeadConfig(max_turns=4, requests_per_call=3),
    subagent=AgentConfig(max_turns=4),
)
MARKS = ("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|endoftext|>")
HOSTILE = (
    *MARKS,
    *TAGS,
    "\n",
    " ",
    "assistant\n",
    "user\n",
    "Triton ",
    "1,353",
    "é",
    "海",
    "🪐",
    "|",
)
PLAIN = (
    "Triton",
    " is",
    " 1,353 km",
    " wide",
    "\n",
    "\n\n",
    "é",
    "海王星",
    "🪐",
    "| a |",
    "  x",
    '{"',
)


@dataclass(slots=True)
class Model:
    """A tokenizer as it is, and as agents use it."""

    raw: Tokenizer
    chat: ChatTokenizer


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    raw = Tokenizer.from_file(str(FOLDER / request.param / "tokenizer.json"))
    return Model(raw, ChatTokenizer(raw))


@dataclass(slots=True)
class Engine:
    """Samples at random, and remembers every request with its answer."""

    tokenizer: ChatTokenizer
    rng: random.Random
    asked: list[tuple[tuple[int, ...], Generated]] = field(
        default_factory=list[tuple[tuple[int, ...], Generated]]
    )

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        ids = self._sample("create_sub_agents" in self.tokenizer.decode(prompt_ids[:150]))
        kept = tuple(ids[: sampling.max_tokens])
        finish = Finish.STOP if len(kept) == len(ids) else Finish.LENGTH
        logprobs = tuple(-self.rng.random() for _ in kept)
        made = Generated(ids=kept, logprobs=logprobs, finish=finish)
        self.asked.append((tuple(prompt_ids), made))
        return made

    async def close_session(self, session: str) -> None:
        return None

    def _sample(self, leads: bool) -> list[int]:
        draw = self.rng.random()
        noise = [self.rng.randrange(self.tokenizer.vocab_size) for _ in range(6)]
        if draw < 0.1:
            return [*noise, self.tokenizer.end_id]
        if draw < 0.15:
            return noise
        thoughts = "".join(self.rng.choices(PLAIN, k=self.rng.choice((4, 8, 150))))
        thinking = self.tokenizer.encode_trusted(f"<think>{thoughts}</think>" * (draw < 0.5))
        return [*thinking, *self.tokenizer.encode_response(self._say(leads))]

    def _say(self, leads: bool) -> str:
        draw = self.rng.random()
        if draw < 0.15:
            return f"| A |\n| --- |\n| {hostile(self.rng)} |"
        calls = [("search", "queries", "query"), ("access", "urls", "url")]
        name, many, one = (
            ("create_sub_agents", "sub_agents", "prompt") if leads else self.rng.choice(calls)
        )
        requests = [{one: f"{hostile(self.rng)}x"} for _ in range(self.rng.randint(1, 2))]
        call = json.dumps({"name": name, "arguments": {many: requests}})
        return f"<tool_call>{call[:-1] if draw < 0.3 else call}</tool_call>"


class Web:
    """Pages that spell marks and tags."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def search(self, query: str, k: int) -> list[Document]:
        return [Document(url="u", title=hostile(self._rng), text=hostile(self._rng))]

    async def read(self, url: str) -> Page:
        return Page(url=url, text=hostile(self._rng))


def hostile(rng: random.Random) -> str:
    return "".join(rng.choices(HOSTILE, k=6))


async def rollout(model: Model, seed: int) -> tuple[Engine, Episode]:
    rng = random.Random(seed)
    engine = Engine(model.chat, rng)
    policy = TokenPolicy(
        engine, model.chat, context_tokens=3000, sampling=Sampling(max_tokens=TURN_TOKENS)
    )
    gold = TableGold(text="", key_columns=("A",), required_columns=("A",))
    task = Task(id=f"{seed}", question=f"{hostile(rng)}?", gold=gold)
    web = Web(rng)
    return engine, await Team(TEAM, policy, web, web, prompts=PROMPTS).run(task)


async def test_what_was_sampled_is_what_is_trained(model: Model) -> None:
    conversations, resumed = 0, 0
    for seed in range(ROLLOUTS):
        engine, episode = await rollout(model, seed)
        turns = [turn for agent in episode.trajectories for turn in agent.turns]
        seen = Counter((prompt, made.ids, made.logprobs) for prompt, made in engine.asked)
        assert Counter((t.prompt_ids, t.response_ids, t.logprobs) for t in turns) == seen
        check_samples([turn for turn in turns if turn.response_ids])
        for agent in episode.trajectories:
            check_growth(model.chat, agent.turns)
            assert all(turn.text == model.chat.decode(turn.response_ids) for turn in agent.turns)
        conversations += len(episode.trajectories)
        resumed += sum(turn.resumable for turn in turns)
    assert conversations > 2 * ROLLOUTS
    assert resumed > 50


def check_samples(turns: Sequence[Turn]) -> None:
    """Asserts that every sampled token trains once, with its log-prob, and that no other does."""
    samples = build_samples([TrainedTurn(turn=t, weight=0.5, advantage=1.0) for t in turns])
    trained: Counter[tuple[int, float]] = Counter()
    for sample in samples:
        (places,) = np.nonzero(sample.weights)
        trained.update(
            zip(sample.ids[places].tolist(), sample.logprobs[places].tolist(), strict=True)
        )
    sampled = Counter(
        (id, float(np.float32(logprob)))
        for turn in turns
        for id, logprob in zip(turn.response_ids, turn.logprobs, strict=True)
    )
    assert trained == sampled
    whole = {turn.prompt_ids + turn.response_ids for turn in turns}
    assert all(tuple(sample.ids.tolist()) in whole for sample in samples)


def check_growth(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> None:
    """Asserts that prompts grow by what the layout adds and by text that holds no control ids."""
    closing = tuple(tokenizer.encode_trusted(END_OF_THOUGHT))
    results = controls(
        tokenizer,
        [*tokenizer.render([Message(role="tool", content="x")]), *tokenizer.generation_prompt],
    )
    for turn, following in pairwise(turns):
        before = turn.prompt_ids + turn.response_ids
        assert following.prompt_ids[: len(before)] == before
        added = following.prompt_ids[len(before) :]
        if turn.resumable:
            assert added == closing
            continue
        closed = turn.response_ids[-1:] == (tokenizer.end_id,)
        assert controls(tokenizer, added) == [*([] if closed else [tokenizer.end_id]), *results]


def controls(tokenizer: ChatTokenizer, ids: Sequence[int]) -> list[int]:
    return [id for id in ids if id in tokenizer.control_ids]


def test_text_of_tools_and_users_comes_back_as_it_was(model: Model) -> None:
    rng = random.Random(3)
    for _ in range(2000):
        text = "".join(rng.choices((*HOSTILE, *PLAIN), k=8))
        ids = model.chat.encode_data(text)
        assert not controls(model.chat, ids)
        assert model.chat.decode(ids) == unicodedata.normalize("NFC", text)


def conversation(rng: random.Random, *, with_tools: bool) -> Iterator[Message]:
    """A random conversation that ends with a message that a model has to answer."""
    yield Message(role="system", content=text(rng))
    yield Message(role="user", content=text(rng))
    for _ in range(rng.randrange(4)):
        yield Message(role="assistant", content=f"<think>\n{text(rng)}\n</think>\n\n{text(rng)}")
        yield Message(role="tool" if with_tools else "user", content=text(rng))


def text(rng: random.Random) -> str:
    """A text without line breaks at its ends, which templates strip."""
    return "a" + "".join(rng.choices(PLAIN, k=rng.randrange(9))) + "z"


@pytest.mark.parametrize("name", ["qwen3", "smollm2"])
def test_prompts_have_the_ids_of_the_chat_template(name: str) -> None:
    raw = Tokenizer.from_file(str(FOLDER / name / "tokenizer.json"))
    tokenizer = ChatTokenizer(raw)
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((FOLDER / name / "chat_template.jinja").read_text("utf-8"))
    rng = random.Random(4)
    for _ in range(RENDERED):
        messages = list(conversation(rng, with_tools=name == "qwen3"))
        given = [{"role": message.role, "content": message.content} for message in messages]
        whole = template.render(messages=given, add_generation_prompt=True)
        ours = [*tokenizer.render(messages), *tokenizer.generation_prompt]
        assert ours == raw.encode(whole, add_special_tokens=False).ids
