"""Pages through the Jina reader (`GET /<url>`), as Markdown."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal, cast

from pydantic import JsonValue

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import NoContent, ServiceError, ServiceFault
from wideseek_core.plugins import Plugin
from wideseek_core.search import Page
from wideseek_tools.service import Service, failure, open_service, reported_problem

_HEAD = re.compile(
    r"\A(?:Title: (?P<title>[^\n]*)\n+)?(?:URL Source: [^\n]*\n+)?"
    r"(?P<notes>(?:(?:Published Time|Number of Pages|Warning): [^\n]*\n+)*)(?:Markdown Content:\n)?"
)
_TARGET_STATUS = re.compile(r"Warning: Target URL returned error ([0-9]{3})")
_CAPTCHA = re.compile(r"^Warning: .*\bCAPTCHA\b", re.IGNORECASE | re.MULTILINE)


class JinaConfig(EndpointConfig):
    """Pages through the Jina reader; works without a key at a low rate."""

    kind: Literal["jina"] = "jina"
    base_url: str = "https://r.jina.ai"
    api_key_env: str = "JINA_API_KEY"
    """Environment variable that holds the key; without one the service is slower."""
    max_concurrent: int = 10
    max_requests_per_s: float | None = 50.0
    max_attempts: int = 8
    timeout_s: float = 60.0
    deadline_s: float = 180.0


class Jina:
    """Reads a page through the service; the URL must be a public one."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolError`."""
        from wideseek_tools.fetch.address import (
            checked_url,  # it needs httpx2, which is slow to load
        )

        address = str(checked_url(url))
        body = await self._service.get_text(f"/{address}", {"Accept": "text/plain"}, _check)
        head = _HEAD.match(body)
        title = (head["title"] or "") if head else ""
        content = body[head.end() :].strip() if head else body.strip()
        if not content:
            raise NoContent(f"no text at {url!r}")
        return Page(url=address, text=content, title=title, source="jina")


def _notes(body: str) -> str:
    head = _HEAD.match(body)
    return head["notes"] if head else ""


def _check(body: str) -> None:
    """Raises `ServiceError` if the answer only tells that the page could not be read."""
    notes = _notes(body)
    if found := _TARGET_STATUS.search(notes):
        raise failure(f"the page's server answered {found[1]}", int(found[1]))
    if _CAPTCHA.search(notes):
        raise ServiceError("the page asks for a CAPTCHA", kind=ServiceFault.STATUS)
    if body.startswith("{") and (problem := _problem(body)):
        raise problem


def _problem(body: str) -> ServiceError | None:
    """The failure that a JSON answer of the service itself describes."""
    try:
        answer = cast(JsonValue, json.loads(body))
    except (ValueError, RecursionError):
        return None  # a page may begin with a brace
    code = answer.get("code") if isinstance(answer, dict) else None
    if not isinstance(code, int) or code < 400 or not isinstance(answer, dict):
        return None
    return failure(reported_problem(answer) or f"reports {code}", code)


@asynccontextmanager
async def open_jina(config: JinaConfig) -> AsyncGenerator[Jina]:
    """The reader, with its key if there is one."""
    async with open_service("Jina", config, key_required=False) as service:
        yield Jina(service)


PAGES = Plugin(config=JinaConfig, open=open_jina)
