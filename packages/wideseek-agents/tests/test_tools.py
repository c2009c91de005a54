"""What tools give back, and how they fail, through `Team.run`."""

import asyncio
from collections.abc import Sequence

import pytest

from wideseek_agents import (
    ChatTokenizer,
    ScriptedPolicy,
    Team,
    TeamConfig,
)
from wideseek_core import (
    ConfigError,
    Document,
    Message,
    Page,
    Task,
    ToolSpec,
    ToolUnavailable,
)

from .conftest import SINGLE, TRITON, Watched, World, call, turns


class Faulty(World):
    """Fails in the given way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def search(self, query: str, k: int) -> list[Document]:
        raise self._error

    async def read(self, url: str) -> Page:
        raise self._error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolUnavailable("the service\nis down"), "error: the service is down"),
        (KeyError("bug"), "error: KeyError"),
    ],
)
async def test_a_tool_that_fails_tells_the_agent(task: Task, error: Exception, text: str) -> None:
    faulty = Faulty(error)
    script = turns(call("search", query="a"), call("access", url="u"), "end")
    episode = await Team(SINGLE, ScriptedPolicy(script), faulty, faulty).run(task)
    results = [result for turn in episode.main.turns for result in turn.results]
    assert [(result.text, result.ok) for result in results] == [(text, False)] * 2
    assert episode.answer == "end"


async def test_a_tool_that_hangs_is_given_up(world: World, task: Task) -> None:
    class Hanging(World):
        async def read(self, url: str) -> Page:
            await asyncio.Event().wait()
            raise AssertionError

    config = TeamConfig(prompts="compact", workflow="single_agent", tool_timeout_s=0.01)
    script = turns(call("access", url="u"), "end")
    episode = await Team(config, ScriptedPolicy(script), world, Hanging()).run(task)
    assert episode.main.turns[0].results[0].text == "error: no answer within 0.01 s"


async def test_pages_are_summarized_for_what_the_agent_wants(world: World, task: Task) -> None:
    asked: list[str] = []

    def summarize(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        asked.append(messages[-1].content)
        return "<think>hm</think>1353 km"

    config = TeamConfig(prompts="compact", workflow="single_agent", use_access_summary=True)
    policy = ScriptedPolicy(turns(call("access", url=TRITON, info_to_extract="radius"), "end"))
    team = Team(config, policy, world, world, summarizer=ScriptedPolicy(summarize))
    episode = await team.run(task)
    assert episode.main.turns[0].results[0].text == "1353 km"
    assert asked == ["What does this page say about: radius\nTriton has a radius of 1353 km."]


async def test_a_summary_that_fails_is_the_tools_failure(world: World, task: Task) -> None:
    config = TeamConfig(prompts="compact", workflow="single_agent", use_access_summary=True)
    policy = ScriptedPolicy(turns(call("access", url=TRITON), "end"))
    summarizer = Watched(turns(), fail=lambda _: True)
    episode = await Team(config, policy, world, world, summarizer=summarizer).run(task)
    result = episode.main.turns[0].results[0]
    assert (result.text, result.ok) == ("error: the page could not be summarized: gone", False)
    assert summarizer.open_now == 0


@pytest.mark.parametrize("text", ["<think>hm</think>\n", "<think>the page" + " is long" * 20])
async def test_a_summarizer_that_only_thinks_has_failed(
    world: World, task: Task, tokenizer: ChatTokenizer, text: str
) -> None:
    config = TeamConfig(prompts="compact", workflow="single_agent", use_access_summary=True)
    policy = ScriptedPolicy(turns(call("access", url=TRITON), "end"))
    summarizer = ScriptedPolicy(turns(text), tokenizer, max_tokens=12)
    episode = await Team(config, policy, world, world, summarizer=summarizer).run(task)
    result = episode.main.turns[0].results[0]
    assert result.text.endswith("could not be summarized: the model wrote no summary")
    assert not result.ok


def test_summaries_without_a_summarizer_are_refused(world: World) -> None:
    config = TeamConfig(use_access_summary=True)
    with pytest.raises(ConfigError, match="use_access_summary"):
        Team(config, ScriptedPolicy(turns()), world, world)


async def test_long_pages_and_documents_are_cut(task: Task) -> None:
    class Long(World):
        async def search(self, query: str, k: int) -> list[Document]:
            return [Document(url="u", title="a\nb", text="0123456789")]

        async def read(self, url: str) -> Page:
            return Page(url=url, text="0123456789")

    config = TeamConfig(
        prompts="compact", workflow="single_agent", max_document_chars=4, max_page_chars=6
    )
    script = turns(call("search", query="q"), call("access", url="u"), "end")
    episode = await Team(config, ScriptedPolicy(script), Long(), Long()).run(task)
    texts = [result.text for turn in episode.main.turns for result in turn.results]
    assert texts[0].endswith("\n0123")
    assert texts[1] == "012345"
