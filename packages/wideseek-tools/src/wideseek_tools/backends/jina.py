"""Pages through the Jina reader (`GET /<url>`), as Markdown."""

import re
from contextlib import AsyncExitStack

from wideseek_core.config import secret
from wideseek_core.errors import NoContent
from wideseek_core.search import Page
from wideseek_tools.config import JinaConfig
from wideseek_tools.fetch.address import checked_url
from wideseek_tools.http import HttpService

VARIABLE = "JINA_API_KEY"
_HEAD = re.compile(
    r"\A(?:Title: (?P<title>[^\n]*)\n+)?(?:URL Source: [^\n]*\n+)?"
    r"(?:(?:Published Time|Number of Pages|Warning): [^\n]*\n+)*(?:Markdown Content:\n)?"
)


class Jina:
    """Reads a page through the service; the URL must be a public one."""

    def __init__(self, http: HttpService) -> None:
        self._http = http

    async def read(self, url: str) -> Page:
        """The page at `url`. Raises `NoContent`, `ToolError`."""
        address = checked_url(url)
        body = await self._http.get_text(f"/{address}", {"Accept": "text/plain"})
        head = _HEAD.match(body)
        title = (head["title"] or "") if head else ""
        content = body[head.end() :].strip() if head else body.strip()
        if not content:
            raise NoContent(f"no text at {url!r}")
        return Page(url=str(address), text=content, title=title, source="jina")


async def open_jina(config: JinaConfig, stack: AsyncExitStack) -> Jina:
    """The reader with its key if there is one, to be closed by `stack`."""
    key = secret(VARIABLE)
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    http = HttpService("Jina", config.url, config.limits, headers, variable=VARIABLE)
    return Jina(await stack.enter_async_context(http))
