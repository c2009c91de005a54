from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from loopback import FAULTS, Request, Stub, page, reply

from wideseek_core.errors import (
    ConfigError,
    NoContent,
    ServiceError,
    ServiceFault,
    ToolError,
    ToolRefused,
    ToolUnavailable,
)
from wideseek_core.search import Document
from wideseek_tools.backends.brave import BraveConfig
from wideseek_tools.backends.ddgs import Ddgs, DdgsConfig
from wideseek_tools.backends.jina import JinaConfig
from wideseek_tools.backends.retrieval_server import ServerConfig, ServerPagesConfig
from wideseek_tools.backends.searxng import SearxngConfig
from wideseek_tools.backends.serper import SerperConfig
from wideseek_tools.backends.tavily import TavilyConfig
from wideseek_tools.config import PagesConfig, SearchConfig
from wideseek_tools.open import open_pages, open_search

LIMITS: dict[str, Any] = {
    "timeout_s": 300.0,
    "deadline_s": 300.0,
    "max_attempts": 1,
    "max_bytes": 10_000,
    "max_requests_per_s": None,
}
VARIABLES = ("SERPER_API_KEY", "BRAVE_API_KEY", "TAVILY_API_KEY", "JINA_API_KEY")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, f"secret-{variable}")


def searches(url: str) -> dict[str, SearchConfig]:
    return {
        "serper": SerperConfig(base_url=url, **LIMITS, country="us", language="en"),
        "brave": BraveConfig(base_url=url, **LIMITS),
        "tavily": TavilyConfig(base_url=url, **LIMITS),
        "searxng": SearxngConfig(base_url=url, **LIMITS),
        "server": ServerConfig(base_url=url, **LIMITS),
    }


def pages(url: str) -> dict[str, PagesConfig]:
    return {
        "jina": JinaConfig(base_url=url, **LIMITS),
        "server": ServerPagesConfig(base_url=url, **LIMITS),
    }


async def search(config: SearchConfig, query: str = "io", k: int = 2) -> list[Document]:
    async with AsyncExitStack() as stack:
        return await (await open_search(config, stack)).search(query, k)


NONE: list[object] = []
ROWS: list[dict[str, object]] = [
    {
        "link": f"http://a.org/{n}",
        "url": f"http://a.org/{n}",
        "title": f"T{n}",
        "snippet": f"S{n}",
        "description": f"<strong>S{n}</strong>",
        "content": f"S{n}",
        "score": 0.5,
    }
    for n in range(3)
]
PASSAGE = {"id": "1", "url": "http://a.org/0", "contents": '"T0"\nS0'}
ANSWERS: dict[str, object] = {
    "serper": {"organic": [{"title": "no link"}, *ROWS]},
    "brave": {"web": {"results": ROWS}},
    "tavily": {"results": ROWS},
    "searxng": {"results": ROWS},
    "server": {"result": [[{"document": PASSAGE, "score": 0.5}, PASSAGE]]},
}
NOTHING: dict[str, object] = {
    "serper": {"searchParameters": {"q": "io"}, "organic": []},
    "brave": {"type": "search", "query": {"original": "io"}, "mixed": {}},
    "tavily": {"query": "io", "results": [], "response_time": 0.1},
    "searxng": {"query": "io", "results": [], "unresponsive_engines": []},
    "server": {"result": [NONE]},
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_results_have_one_form(stub: Stub, name: str) -> None:
    stub.answers([reply(ANSWERS[name])])
    found = await search(searches(stub.url)[name])
    assert (found[0].url, found[0].title, found[0].text) == ("http://a.org/0", "T0", "S0")
    assert len(found) == 2


@pytest.mark.parametrize("name", ANSWERS)
async def test_empty_answer_is_an_empty_list(stub: Stub, name: str) -> None:
    stub.answers([reply(NOTHING[name])])
    assert await search(searches(stub.url)[name]) == []


def limits(fault: str) -> dict[str, float]:
    """Short ones for answers that would take a minute and more."""
    return {"timeout_s": 0.2} if fault in ("slow", "dripping") else {}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ANSWERS)
async def test_fault_becomes_a_tool_error(stub: Stub, name: str, fault: str) -> None:
    stub.answers([FAULTS[fault]])
    config = searches(stub.url)[name]
    with pytest.raises(ToolError) as caught:
        await search(config.model_copy(update=limits(fault)))
    assert "secret" not in repr(caught.value)


async def test_requests_follow_each_service(stub: Stub) -> None:
    for name, config in searches(stub.url).items():
        stub.answers([reply(NOTHING[name])])
        await search(config, "io & co", 4)
    serper, brave, tavily, searxng, server = stub.requests
    assert (serper.method, serper.path) == ("POST", "/search")
    assert serper.json == {"q": "io & co", "num": 4, "gl": "us", "hl": "en"}
    assert serper.headers["x-api-key"] == "secret-SERPER_API_KEY"
    assert brave.path == "/res/v1/web/search"
    assert brave.params == {"q": "io & co", "count": "4"}
    assert brave.headers["x-subscription-token"] == "secret-BRAVE_API_KEY"
    assert tavily.json == {"query": "io & co", "max_results": 4, "search_depth": "basic"}
    assert tavily.headers["authorization"] == "Bearer secret-TAVILY_API_KEY"
    assert (searxng.path, searxng.params["format"]) == ("/search", "json")
    assert server.json == {"queries": ["io & co"], "topk": 4, "return_scores": True}


async def test_searxng_asks_for_more_pages_until_there_are_enough(stub: Stub) -> None:
    def handler(request: Request) -> object:
        number = request.params["pageno"]
        return [{"url": f"http://a.org/{number}", "title": "", "content": ""}]

    stub.handler = lambda request: reply({"results": handler(request)})
    assert len(await search(searches(stub.url)["searxng"], k=2)) == 2
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("config", "variable"),
    [
        (SerperConfig(), "SERPER_API_KEY"),
        (BraveConfig(), "BRAVE_API_KEY"),
        (TavilyConfig(), "TAVILY_API_KEY"),
    ],
)
async def test_missing_key_is_named(
    monkeypatch: pytest.MonkeyPatch, config: SearchConfig, variable: str
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(ConfigError, match=variable):
        await search(config)


async def test_jina_page(stub: Stub) -> None:
    text = "Title: Io\n\nURL Source: http://a.org/io\n\nMarkdown Content:\n# Io\nA moon."
    stub.answers([page(text, "text/plain")])
    async with AsyncExitStack() as stack:
        source = await open_pages(pages(stub.url)["jina"], stack)
        found = await source.read("http://a.org/io?x=1#top")
    assert (found.title, found.text, found.source) == ("Io", "# Io\nA moon.", "jina")
    (request,) = stub.requests
    assert request.target == "/http://a.org/io?x=1"
    assert request.headers["authorization"] == "Bearer secret-JINA_API_KEY"


async def test_empty_jina_page_is_no_content(stub: Stub) -> None:
    stub.answers([page("Title: \n\nURL Source: x\n\nMarkdown Content:\n", "text/plain")])
    async with AsyncExitStack() as stack:
        source = await open_pages(pages(stub.url)["jina"], stack)
        with pytest.raises(NoContent):
            await source.read("http://a.org/io")
        with pytest.raises(ToolRefused):
            await source.read("file:///etc/passwd")


async def test_page_of_a_retrieval_server(stub: Stub) -> None:
    stub.answers([reply({"result": [{"url": "u", "contents": '"Io"\nA moon.'}]})])
    async with AsyncExitStack() as stack:
        found = await (await open_pages(pages(stub.url)["server"], stack)).read("http://a.org")
    assert (found.url, found.title, found.text) == ("u", "Io", '"Io"\nA moon.')
    assert stub.requests[0].json == {"urls": ["http://a.org"]}


async def test_unknown_page_of_a_retrieval_server(stub: Stub) -> None:
    stub.answers([reply({"result": [None]})])
    async with AsyncExitStack() as stack:
        with pytest.raises(NoContent):
            await (await open_pages(pages(stub.url)["server"], stack)).read("http://a.org")


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "endless"])
async def test_page_fault_becomes_a_tool_error(stub: Stub, fault: str) -> None:
    stub.answers([FAULTS[fault]])
    config = pages(stub.url)["server"].model_copy(update=limits(fault))
    async with AsyncExitStack() as stack:
        with pytest.raises(ToolError):
            await (await open_pages(config, stack)).read("http://a.org")


def rows(query: str, k: int) -> list[Mapping[str, str]]:
    return [{"href": f"http://a.org/{n}", "title": query, "body": "b"} for n in range(k + 1)]


async def test_ddgs_rows() -> None:
    found = await Ddgs(DdgsConfig(**LIMITS), rows).search("io", 2)
    assert [(one.url, one.title) for one in found] == [
        ("http://a.org/0", "io"),
        ("http://a.org/1", "io"),
    ]


async def test_ddgs_nothing_found_is_empty_and_a_refusal_is_tried_once_more() -> None:
    calls: list[str] = []

    def nothing(query: str, k: int) -> list[Mapping[str, str]]:
        return []

    def refuse(query: str, k: int) -> list[Mapping[str, str]]:
        calls.append(query)
        raise ServiceError("RatelimitException", kind=ServiceFault.STATUS, can_pass=True)

    assert await Ddgs(DdgsConfig(**LIMITS), nothing).search("io", 2) == []
    patient = DdgsConfig(max_requests_per_s=None, backoff_s=0.0)
    with pytest.raises(ToolUnavailable, match="Ratelimit"):
        await Ddgs(patient, refuse).search("io", 2)
    assert len(calls) == 2
