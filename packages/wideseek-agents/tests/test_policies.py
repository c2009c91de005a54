"""Token policies and scripted policies: how conversations grow by ids."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team, TeamConfig, TokenPolicy
from wideseek_core import (
    ContextOverflow,
    Finish,
    Generated,
    Message,
    PolicyUnavailable,
    Sampling,
    Status,
    Task,
    ToolSpec,
    VersionSpan,
    one_version,
)

from .conftest import World

HELLO = Message(role="user", content="Which moons has Neptune?")
MORE = Message(role="tool", content="Triton")


class Engine:
    """Says the given ids, and remembers what it was asked."""

    def __init__(self, *answers: Sequence[int], finish: Finish = Finish.STOP) -> None:
        self._answers = list(answers)
        self._finish = finish
        self.prompts: list[tuple[int, ...]] = []
        self.sessions: list[str] = []
        self.budgets: list[int] = []
        self.closed: list[str] = []
        self.seeds: list[int | None] = []

    async def generate(
        self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
    ) -> Generated:
        self.prompts.append(tuple(prompt_ids))
        self.sessions.append(session)
        self.budgets.append(sampling.max_tokens)
        if not self._answers:
            raise PolicyUnavailable("no more answers")
        ids = tuple(self._answers.pop(0)[: sampling.max_tokens])
        self.seeds.append(sampling.seed)
        return Generated(
            ids=ids,
            logprobs=(-0.5,) * len(ids),
            finish=self._finish,
            versions=one_version(3, len(ids)),
        )

    async def close_session(self, session: str) -> None:
        self.closed.append(session)


async def test_a_prompt_is_the_last_one_with_the_sampled_ids_and_the_new_message(
    tokenizer: ChatTokenizer,
) -> None:
    odd = [*tokenizer.encode_data("Tri"), *tokenizer.encode_data("t"), tokenizer.end_id]
    engine = Engine(odd, [tokenizer.end_id])
    conversation = TokenPolicy(engine, tokenizer, context_tokens=500).open(())
    first = await conversation.reply([HELLO])
    await conversation.reply([MORE])
    assert first.text == "Trit"
    assert engine.prompts[1] == (
        *first.prompt_ids,
        *odd,
        *tokenizer.newline,
        *tokenizer.render([MORE]),
        *tokenizer.generation_prompt,
    )


async def test_a_reply_carries_what_was_sampled(tokenizer: ChatTokenizer) -> None:
    ids = (*tokenizer.encode_data("yes"), tokenizer.end_id)
    reply = await TokenPolicy(Engine(ids), tokenizer).open(()).reply([HELLO])
    assert (reply.response_ids, reply.finish) == (ids, Finish.STOP)
    assert reply.versions == (VersionSpan(version=3, start=0, end=len(ids)),)
    assert reply.logprobs == (-0.5,) * len(ids)
    assert (reply.prompt_tokens, reply.response_tokens) == (len(reply.prompt_ids), len(ids))


async def test_a_message_that_ended_otherwise_is_closed_in_the_next_prompt(
    tokenizer: ChatTokenizer,
) -> None:
    engine = Engine(tokenizer.encode_data("yes"), [])
    conversation = TokenPolicy(engine, tokenizer).open(())
    await conversation.reply([HELLO])
    await conversation.reply([MORE])
    assert "yes<|im_end|>\n<|im_start|>user" in tokenizer.decode(engine.prompts[1])


async def test_a_turn_may_take_what_is_left_of_the_window(tokenizer: ChatTokenizer) -> None:
    long = [*tokenizer.encode_data("yes " * 20), tokenizer.end_id]
    engine = Engine(long, long)
    prompt = len(tokenizer.render([HELLO])) + len(tokenizer.generation_prompt)
    policy = TokenPolicy(
        engine, tokenizer, context_tokens=prompt + 50, sampling=Sampling(max_tokens=60)
    )
    conversation = policy.open(())
    await conversation.reply([HELLO])
    assert engine.budgets == [50]


async def test_the_default_window_is_32000_tokens(tokenizer: ChatTokenizer) -> None:
    engine = Engine([tokenizer.end_id])
    reply = await TokenPolicy(engine, tokenizer).open(()).reply([HELLO])
    assert engine.budgets == [32_000 - reply.prompt_tokens]


async def test_max_tokens_bounds_a_turn(tokenizer: ChatTokenizer) -> None:
    engine = Engine([tokenizer.end_id])
    policy = TokenPolicy(engine, tokenizer, sampling=Sampling(max_tokens=7))
    await policy.open(()).reply([HELLO])
    assert engine.budgets == [7]


async def test_messages_that_fill_the_window_overflow(tokenizer: ChatTokenizer) -> None:
    engine = Engine([tokenizer.end_id])
    conversation = TokenPolicy(engine, tokenizer, context_tokens=200).open(())
    await conversation.reply([HELLO])
    with pytest.raises(ContextOverflow, match="leaves no room in 200"):
        await conversation.reply([Message(role="tool", content="x" * 300)])


async def test_a_question_over_its_limit_overflows(tokenizer: ChatTokenizer) -> None:
    long = Message(role="user", content="é" * 100)
    policy = TokenPolicy(Engine([tokenizer.end_id]), tokenizer)
    with pytest.raises(ContextOverflow, match="more than 100"):
        await policy.open((), max_question_tokens=100).reply([long])
    assert (await policy.open(()).reply([long])).finish is Finish.STOP


async def test_sessions_follow_from_the_seed_and_never_clash(tokenizer: ChatTokenizer) -> None:
    engine = Engine([1], [1], [1])
    policy = TokenPolicy(engine, tokenizer)
    first, second = policy.open((), seed=5), policy.open((), seed=5)
    await first.reply([HELLO])
    await second.reply([HELLO])
    await first.close()
    await first.close()
    await policy.open((), seed=5).reply([HELLO])
    assert engine.sessions == ["5", "5.1", "5"]
    assert engine.closed == ["5"]


async def test_a_script_sees_the_whole_conversation_and_the_tools() -> None:
    seen: list[tuple[list[str], list[str]]] = []

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        seen.append(([message.role for message in messages], [tool.name for tool in tools]))
        return "ok"

    spec = ToolSpec(name="search", description="", parameters={})
    conversation = ScriptedPolicy(respond).open([spec])
    await conversation.reply([HELLO])
    reply = await conversation.reply([MORE])
    assert seen == [(["user"], ["search"]), (["user", "assistant", "tool"], ["search"])]
    assert (reply.text, reply.prompt_ids, reply.response_ids) == ("ok", (), ())


async def test_a_script_with_a_tokenizer_gives_the_ids_of_a_token_policy(
    tokenizer: ChatTokenizer,
) -> None:
    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        return "<tool_call>{}</tool_call>"

    scripted = ScriptedPolicy(respond, tokenizer).open(())
    first, second = await scripted.reply([HELLO]), await scripted.reply([MORE])
    engine = Engine(first.response_ids, second.response_ids)
    sampled = TokenPolicy(engine, tokenizer).open(())
    await sampled.reply([HELLO])
    again = await sampled.reply([MORE])
    assert second.prompt_ids == again.prompt_ids
    assert second.text == again.text == "<tool_call>{}</tool_call>"
    assert second.logprobs == (0.0,) * len(second.response_ids)


async def test_a_script_is_cut_where_its_window_ends(tokenizer: ChatTokenizer) -> None:
    policy = ScriptedPolicy(lambda messages, tools: "x" * 50, tokenizer, max_tokens=10)
    reply = await policy.open(()).reply([HELLO])
    assert (reply.finish, reply.text, len(reply.response_ids)) == (Finish.LENGTH, "x" * 10, 10)


async def test_every_turn_of_every_agent_has_a_seed_of_its_own(tokenizer: ChatTokenizer) -> None:
    async def seeds(*agents: int) -> list[int | None]:
        engine = Engine(*([tokenizer.end_id] for _ in range(2 * len(agents))))
        policy = TokenPolicy(engine, tokenizer)
        conversations = [policy.open((), seed=agent) for agent in agents]
        for message in (HELLO, MORE):
            for conversation in conversations:
                await conversation.reply([message])
        return engine.seeds

    first = await seeds(1, 2, 2)  # the second agent of seed 2 is another conversation
    assert len(set(first)) == 6
    assert all(seed is not None and 0 <= seed < 2**63 for seed in first)
    assert await seeds(1, 2, 2) == first


async def test_a_thought_that_is_cut_off_is_closed_by_tokens_that_were_not_sampled(
    tokenizer: ChatTokenizer, world: World, task: Task
) -> None:
    thought = tokenizer.encode_trusted("<think>I wonder about Triton")
    answer = [*tokenizer.encode_data("done"), tokenizer.end_id]

    class Cut(Engine):
        async def generate(
            self, prompt_ids: Sequence[int], *, session: str, sampling: Sampling
        ) -> Generated:
            made = await super().generate(prompt_ids, session=session, sampling=sampling)
            ended = made.ids[-1] == tokenizer.end_id
            return replace(made, finish=Finish.STOP if ended else Finish.LENGTH)

    engine = Cut(thought, answer)
    policy = TokenPolicy(engine, tokenizer, sampling=Sampling(max_tokens=100))
    config = TeamConfig(prompts="compact", workflow="single_agent")
    episode = await Team(config, policy, world, world).run(task)
    first, second = episode.main.turns
    assert (episode.answer, episode.main.status) == ("done", Status.FINISHED)
    assert (first.finish, first.calls) == (Finish.LENGTH, ())
    closing = tuple(tokenizer.encode_trusted("\n</think>\n\n"))
    assert second.prompt_ids == first.prompt_ids + first.response_ids + closing
    assert first.response_ids == tuple(thought)
    assert second.response_ids == tuple(answer)


async def test_a_thought_that_fills_the_window_ends_the_agent(
    tokenizer: ChatTokenizer, world: World, task: Task
) -> None:
    thought = tokenizer.encode_trusted("<think>" + "wonder " * 900)
    policy = TokenPolicy(Engine(thought, finish=Finish.LENGTH), tokenizer, context_tokens=500)
    config = TeamConfig(prompts="compact", workflow="single_agent")
    episode = await Team(config, policy, world, world).run(task)
    assert (episode.main.status, len(episode.main.turns)) == (Status.CONTEXT_OVERFLOW, 1)
