"""Failures that services report inside a 200, or in words: unavailable, and never cached."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from loopback import Reply, Stub, page, reply

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import NoContent, ToolError, ToolRefused, ToolUnavailable
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.backends.brave import BraveConfig
from wideseek_tools.backends.jina import JinaConfig
from wideseek_tools.backends.searxng import SearxngConfig
from wideseek_tools.backends.serper import SerperConfig
from wideseek_tools.backends.tavily import TavilyConfig
from wideseek_tools.config import CacheConfig
from wideseek_tools.open import open_pages, open_search

KINDS: dict[str, type[EndpointConfig]] = {
    "serper": SerperConfig,
    "brave": BraveConfig,
    "tavily": TavilyConfig,
    "searxng": SearxngConfig,
}
QUICK: dict[str, Any] = {"max_attempts": 2, "backoff_s": 0.0, "max_requests_per_s": None}
REFUSED_ENGINES = [["brave", "too many requests"], ["google", "CAPTCHA"]]
NOTHING: list[object] = []


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERPER", "BRAVE", "TAVILY", "JINA"):
        monkeypatch.setenv(f"{name}_API_KEY", f"key-of-{name.lower()}")


async def search(stub: Stub, kind: str, query: str = "io") -> list[Any]:
    async with AsyncExitStack() as stack:
        config: Any = KINDS[kind](base_url=stub.url, **QUICK)
        return list(await (await open_search(config, stack)).search(query, 3))


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("searxng", {"results": NOTHING, "unresponsive_engines": REFUSED_ENGINES}, "CAPTCHA"),
        ("searxng", {"results": NOTHING, "unresponsive_engines": ["google"]}, "google"),
        ("searxng", {"error": "rate limit exceeded"}, "rate limit"),
        ("searxng", {"results": NOTHING, "error": "timeout"}, "timeout"),
        ("serper", {"message": "Not enough credits", "statusCode": 400}, "Not enough credits"),
        ("serper", {"message": "Unauthorized."}, "Unauthorized"),
        ("serper", {"organic": NOTHING, "error": "upstream"}, "upstream"),
        (
            "brave",
            {
                "type": "ErrorResponse",
                "error": {"id": "x", "status": 429, "code": "RATE_LIMITED", "detail": "slow down"},
            },
            "slow down",
        ),
        ("tavily", {"detail": {"error": "This request exceeds your plan"}}, "exceeds your plan"),
        ("tavily", {"error": "internal"}, "internal"),
        ("tavily", {"results": None}, "shape"),
        ("serper", {}, "shape"),
        ("brave", NOTHING, "shape"),
    ],
)
async def test_a_failure_inside_a_200_is_unavailable(
    stub: Stub, kind: str, answer: object, words: str
) -> None:
    stub.answers([reply(answer)])
    with pytest.raises(ToolUnavailable, match=words):
        await search(stub, kind)


async def test_a_failure_that_can_pass_is_tried_again_inside_a_200_too(stub: Stub) -> None:
    busy = {"error": {"status": 429, "detail": "slow down"}}
    stub.answers([reply(busy), reply({"web": {"results": [{"url": "http://a.org"}]}})])
    assert len(await search(stub, "brave")) == 1


async def test_engines_that_failed_beside_others_are_no_failure(stub: Stub) -> None:
    rows = [{"url": f"http://a.org/{n}", "score": score} for n, score in enumerate((1.5, None, 1))]
    stub.answers([reply({"results": rows, "unresponsive_engines": REFUSED_ENGINES})])
    assert [document.score for document in await search(stub, "searxng")] == [1.5, 0.0, 1.0]


@pytest.mark.parametrize(
    "score", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "true"]
)
async def test_a_score_that_is_no_number_is_zero(stub: Stub, score: str) -> None:
    body = b'{"results": [{"url": "http://a.org", "score": %s}]}' % score.encode()
    stub.answers([Reply(200, body, {"content-type": "application/json"})])
    (document,) = await search(stub, "searxng")
    assert document.score == 0.0


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, {"message": "Not enough credits"}, ToolUnavailable, "Not enough credits"),
        (400, {"message": "Missing query parameter"}, ToolRefused, "Missing query"),
        (403, {"message": "Unauthorized."}, ToolUnavailable, "SERPER_API_KEY"),
        (429, {"message": "Too many requests"}, ToolUnavailable, "after 2 attempts"),
    ],
)
async def test_the_reason_of_a_refusal_is_shown(
    stub: Stub, status: int, body: object, error: type[ToolError], words: str
) -> None:
    stub.answers([reply(body, status)])
    with pytest.raises(error, match=words) as caught:
        await search(stub, "serper")
    assert "key-of-serper" not in str(caught.value)


async def test_a_failure_is_not_cached_and_the_service_is_asked_again(
    stub: Stub, tmp_path: Path
) -> None:
    found = {"results": [{"url": "http://a.org", "title": "A"}]}
    stub.answers(
        [reply({"results": NOTHING, "unresponsive_engines": REFUSED_ENGINES}), reply(found)]
    )
    config = ToolsConfig(
        search=SearxngConfig(base_url=stub.url, **QUICK),
        pages=JinaConfig(base_url=stub.url),
        cache=CacheConfig(path=tmp_path / "cache.sqlite"),
    )
    async with open_tools(config) as tools:
        with pytest.raises(ToolUnavailable):
            await tools.search.search("io", 1)
        assert len(await tools.search.search("io", 1)) == 1
        assert len(await tools.search.search("io", 1)) == 1
    assert len(stub.requests) == 2


@pytest.mark.parametrize("kind", ["tavily", "brave", "serper"])
async def test_a_long_query_is_cut_to_what_the_service_takes(stub: Stub, kind: str) -> None:
    stub.answers([reply({"results": [], "organic": [], "web": {"results": []}, "query": {}})])
    await search(stub, kind, "moons of the outer planets " * 200)
    (request,) = stub.requests
    if kind == "brave":
        sent = request.params["q"]
        assert len(sent.split()) <= 50
    else:
        sent = request.json["q" if kind == "serper" else "query"]
    assert len(sent) <= (2048 if kind == "serper" else 400)
    assert sent.startswith("moons of the outer planets")


def jina_page(notes: str, content: str = "# Page not found\nSorry") -> Reply:
    head = f"Title: Not Found\n\nURL Source: http://a.org/x\n\n{notes}"
    return page(f"{head}Markdown Content:\n{content}", "text/plain")


async def read(stub: Stub, answer: Reply) -> Any:
    stub.answers([answer])
    async with AsyncExitStack() as stack:
        config = JinaConfig(base_url=stub.url, **QUICK)
        return await (await open_pages(config, stack)).read("http://a.org/x")


@pytest.mark.parametrize("status", [404, 410])
async def test_a_page_that_jina_did_not_find_is_no_content(stub: Stub, status: int) -> None:
    warning = f"Warning: Target URL returned error {status}: Not Found\n\n"
    with pytest.raises(NoContent):
        await read(stub, jina_page(warning))


@pytest.mark.parametrize(
    "notes",
    [
        "Warning: Target URL returned error 403: Forbidden\n\n",
        "Warning: Target URL returned error 429: Too Many Requests\n",
        "Warning: Target URL returned error 503: Service Unavailable\n\n",
        "Published Time: 2024\n\nWarning: Target URL returned error 403: Forbidden\n\n",
        "Warning: This page maybe requiring CAPTCHA, please make sure you are authorized.\n\n",
        "Warning: Target URL returned error 403: Forbidden\n"
        "Warning: This page maybe requiring CAPTCHA\n\n",
    ],
)
async def test_a_page_that_jina_could_not_read_is_unavailable(stub: Stub, notes: str) -> None:
    with pytest.raises(ToolUnavailable):
        await read(stub, jina_page(notes))


@pytest.mark.parametrize(
    "notes",
    [
        "",
        "Warning: This is a cached snapshot of the original page.\n\n",
        "Warning: This page contains iframe that are currently hidden.\n\n",
        "Published Time: 2024\n\nNumber of Pages: 3\n\n",
    ],
)
async def test_other_notes_of_jina_are_no_failure(stub: Stub, notes: str) -> None:
    found = await read(stub, jina_page(notes, "Text on a CAPTCHA that returned error 404."))
    assert found.text == "Text on a CAPTCHA that returned error 404."


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"data": None, "code": 422, "name": "AssertionFailureError"}, ToolRefused),
        (200, {"data": None, "code": 503, "message": "busy"}, ToolUnavailable),
        (404, {"code": 404}, NoContent),
        (402, {"code": 402, "message": "Insufficient account balance"}, ToolUnavailable),
        (422, {"code": 422, "message": "Domain can not be resolved"}, ToolRefused),
        (451, {"code": 451, "message": "blocked"}, ToolUnavailable),
    ],
)
async def test_errors_of_jina_itself(
    stub: Stub, status: int, body: object, error: type[ToolError]
) -> None:
    with pytest.raises(error):
        await read(stub, reply(body, status))


async def test_a_page_in_json_is_a_page(stub: Stub) -> None:
    found = await read(stub, page('{"code": 7, "name": "a file of somebody"}', "text/plain"))
    assert found.text.startswith('{"code": 7')


async def test_a_blank_in_an_address_is_encoded(stub: Stub) -> None:
    stub.answers([page("text", "text/plain")])
    async with AsyncExitStack() as stack:
        source = await open_pages(JinaConfig(base_url=stub.url), stack)
        await source.read("https://en.wikipedia.org/wiki/Marie Curie")
    assert stub.requests[0].target == "/https://en.wikipedia.org/wiki/Marie%20Curie"
