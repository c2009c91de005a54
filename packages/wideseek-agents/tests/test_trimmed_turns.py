"""Responses that repeat themselves until their turn is over."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team, TeamConfig, TokenPolicy
from wideseek_core import (
    Conversation,
    Finish,
    Generated,
    Message,
    Reply,
    Sampling,
    Status,
    Task,
    ToolSpec,
)
from wideseek_core.versions import VersionSpan

from .conftest import World, delegate, roles, turns
from .token_fixtures import TOKENIZERS

TOKENIZER = ChatTokenizer(next(iter(TOKENIZERS.values())))


def encoded(text: str) -> list[int]:
    return TOKENIZER.encode_response(text)[:-1]


NAMES = encoded("Osprey; Tansy; ")


class Loops:
    """An engine that says the same names until no token is left, or ends by itself."""

    def __init__(self, ids: Sequence[int], *, ends: bool = False) -> None:
        self._ids, self._ends = ids, ends
        self.prompts: list[Sequence[int]] = []

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        self.prompts.append(prompt_ids)
        ids = tuple(self._ids[: sampling.max_tokens])
        return Generated(
            ids=ids,
            logprobs=tuple(-0.01 * at for at in range(len(ids))),
            finish=Finish.STOP if self._ends else Finish.LENGTH,
            versions=(
                VersionSpan(version=3, start=0, end=5),
                VersionSpan(version=4, start=5, end=len(ids)),
            ),
        )

    async def close_session(self, session: str) -> None:
        return None


async def replied(engine: Loops, max_repeats: int | None) -> tuple[Reply, Reply]:
    sampling = Sampling(temperature=0.0, max_tokens=600, max_repeats=max_repeats)
    policy = TokenPolicy(engine, TOKENIZER, context_tokens=4000, sampling=sampling)
    conversation = policy.open([], seed=1)
    first = await conversation.reply([Message(role="user", content="Which ferries?")])
    second = await conversation.reply([Message(role="user", content="And then?")])
    await conversation.close()
    return first, second


async def test_the_repeats_are_removed_and_the_turn_is_complete() -> None:
    start = encoded("All\n")
    engine = Loops([*start, *NAMES * 200])
    first, second = await replied(engine, 3)
    assert first.text == "All\nOsprey; Tansy; "
    assert first.finish is Finish.TRIMMED
    assert not first.finish.cut
    count = len(start) + len(NAMES)
    assert list(first.response_ids) == [*start, *NAMES]
    assert first.logprobs == tuple(-0.01 * at for at in range(count))
    assert first.response_tokens == count
    assert first.versions == (
        VersionSpan(version=3, start=0, end=5),
        VersionSpan(version=4, start=5, end=count),
    )
    assert list(second.prompt_ids[: len(first.prompt_ids) + count + 1]) == [
        *first.prompt_ids,
        *first.response_ids,
        TOKENIZER.end_id,
    ]


@pytest.mark.parametrize(
    ("before", "again"),
    [
        ("| Ann | Lund |\n| Ben | Oslo |\n", "| Eve | Oslo |\n"),
        ("- Ben, Oslo\n", "- Kim, Rome\n- Eve, Oslo\n"),
        ("Ben Lee; ", "Eve Lee; "),
        ("Ben (Oslo, 2 km); ", "Eve (Oslo, 2 km); "),
        ("Ben Lee, ", "Eve Lee, "),
        ("Ben is 1.5 m tall. ", "Eve is 1.5 m tall. "),
        ("本李；", "夏李；"),
        ("Björn、", "Börn、"),
        ("", "本"),
        ("", "Ben Lee; Eve Oslo; Kim Berg; "),
        ("", "Ben Lee, Eve Oslo, Kim Berg, "),
        ('["Ben Lee", ', '"Eve Lee", '),
        ('<tool_call>{"name": "ben"}</tool_call>\n', '<tool_call>{"name": "eve"}</tool_call>\n'),
    ],
)
@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=list(TOKENIZERS))
async def test_what_is_repeated_is_said_once_to_its_end(
    before: str, again: str, tokenizer: Tokenizer
) -> None:
    chat = ChatTokenizer(tokenizer)
    for cut in range(0, 30, 4):
        whole = chat.encode_response(before + again * 300)[:-1]
        engine = Loops(whole[: 550 + cut])
        sampling = Sampling(temperature=0.0, max_tokens=600, max_repeats=3)
        policy = TokenPolicy(engine, chat, context_tokens=4000, sampling=sampling)
        reply = await policy.open([]).reply([Message(role="user", content="Who?")])
        assert reply.finish is Finish.TRIMMED
        assert reply.text.rstrip(" |") == (before + again).rstrip(" |")  # "\n|" may be one token
        assert len(reply.response_ids) == len(reply.logprobs) == reply.versions[-1].end


async def test_thinking_that_repeats_itself_is_closed_and_continued() -> None:
    start = encoded("<think>Perhaps ")
    engine = Loops([*start, *encoded("Osprey; ") * 200])
    sampling = Sampling(temperature=0.0, max_tokens=600, max_repeats=3)
    policy = TokenPolicy(engine, TOKENIZER, context_tokens=4000, sampling=sampling)
    conversation = policy.open([])
    first = await conversation.reply([Message(role="user", content="Which ferries?")])
    assert (first.text, first.finish) == ("<think>Perhaps Osprey; ", Finish.TRIMMED)
    assert first.resumable
    second = await conversation.reply(())
    whole = [*first.prompt_ids, *first.response_ids]
    assert list(second.prompt_ids[: len(whole)]) == whole
    closing = TOKENIZER.decode(second.prompt_ids[len(whole) :])
    assert closing == "\n</think>\n\n"


@pytest.mark.parametrize(
    ("engine", "max_repeats", "finish"),
    [
        (Loops(NAMES * 200), None, Finish.LENGTH),
        (Loops(NAMES * 20, ends=True), 3, Finish.STOP),
        (Loops(range(3, 400)), 3, Finish.LENGTH),
    ],
    ids=["not asked for", "ended by itself", "no repeats"],
)
async def test_other_responses_stay_as_they_are(
    engine: Loops, max_repeats: int | None, finish: Finish
) -> None:
    first, _ = await replied(engine, max_repeats)
    assert first.finish is finish
    assert len(first.response_ids) > len(NAMES)
    assert len(first.response_ids) == first.versions[-1].end


class Trims:
    """A policy whose replies with a `~` had repeats in its place."""

    def __init__(self, policy: ScriptedPolicy) -> None:
        self._policy = policy

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        return _Trims(self._policy.open(tools))


class _Trims:
    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    async def reply(self, messages: Sequence[Message]) -> Reply:
        reply = await self._conversation.reply(messages)
        text = reply.text.removesuffix("~")
        finish = reply.finish if text == reply.text else Finish.TRIMMED
        return replace(reply, text=text, finish=finish)

    async def close(self) -> None:
        await self._conversation.close()


HALF_CALL = '<tool_call>{"name": "search", "arguments": {"queries": ["a", "b", ~'


async def test_half_a_call_is_no_report(world: World, task: Task) -> None:
    script = roles(turns(delegate("a"), "end"), turns(HALF_CALL, "Triton"))
    ends = dict[str, tuple[Status, bool]]()
    for rule in ("report", "reference"):
        config = TeamConfig.model_validate({"prompts": "compact", "calls": rule})
        episode = await Team(config, Trims(ScriptedPolicy(script)), world, world).run(task)
        assert episode.answer == "end"
        (result,) = episode.main.turns[0].results
        assert "tool_call" not in result.text
        ends[rule] = (episode.trajectories[1].status, result.text == "Triton")
    assert ends == {"report": (Status.FINISHED, True), "reference": (Status.REPETITION, False)}


@pytest.mark.parametrize("rule", ["report", "reference"])
@pytest.mark.parametrize(
    ("said", "status", "answer"),
    [
        ("| Moon |~", Status.FINISHED, "| Moon |"),
        ("<think>Triton, ~", Status.REPETITION, ""),
        ("<think>a</think>Triton, ~", Status.FINISHED, "Triton,"),
        ("[THINK]Triton, ~", Status.REPETITION, ""),
    ],
)
async def test_thinking_alone_is_no_answer(
    said: str, status: Status, answer: str, rule: str, world: World, task: Task
) -> None:
    config = TeamConfig.model_validate(
        {"prompts": "compact", "calls": rule, "workflow": "single_agent"}
    )
    policy = Trims(ScriptedPolicy(turns(said)))
    episode = await Team(config, policy, world, world).run(task)
    assert (episode.main.status, episode.answer) == (status, answer)
