"""What scripted teachers share: what an agent has seen so far, and how calls are written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_core import Message, ToolSpec

UNKNOWN = "unknown"
"""What a subagent reports where no page that it has read states a fact."""
_AFTER_ADDRESS = '\n >",;)'
"""What ends an address in a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an agent has seen and done, read off its messages."""

    shown: str
    """All tool messages."""
    said: str
    """All assistant turns."""
    opened: str
    """The assistant turns that called `access`."""
    turns: int
    """Assistant turns so far."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Seen":
        """What a conversation shows."""
        said = [item.content for item in messages if item.role == "assistant"]
        shown = [item.content for item in messages if item.role == "tool"]
        return cls(
            shown="\n".join(shown),
            said="\n".join(said),
            opened="\n".join(text for text in said if '"access"' in text),
            turns=len(said),
        )

    def searched(self, query: str) -> bool:
        """Whether this query was sent."""
        return quoted(query) in self.said

    def has_opened(self, url: str) -> bool:
        """Whether this page was asked for; never so for a row that has no page."""
        return bool(url) and quoted(url) in self.opened

    def lists(self, url: str) -> bool:
        """Whether results show this address, not only as the beginning of a longer one."""
        start = self.shown.find(url) if url else -1
        while start >= 0:
            end = start + len(url)
            if end == len(self.shown) or self.shown[end] in _AFTER_ADDRESS:
                return True
            start = self.shown.find(url, start + 1)
        return False


def parent(url: str) -> str:
    """The address one step up: of `w/Moons/Triton#Table` that is `w/Moons#Table`."""
    path, mark, fragment = url.partition("#")
    return f"{path.rpartition('/')[0]}{mark}{fragment}"


def quoted(text: str) -> str:
    """A text as calls hold it."""
    return json.dumps(text, ensure_ascii=False)


def can_delegate(tools: Sequence[ToolSpec]) -> bool:
    """Whether the agent is a lead."""
    return any(tool.name == "create_sub_agents" for tool in tools)


def takes_many(tools: Sequence[ToolSpec]) -> bool:
    """Whether search takes a list of queries (subagents) or one (single agent)."""
    search = next(tool for tool in tools if tool.name == "search")
    return "queries" in json.dumps(search.parameters)


def delegate(prompts: Sequence[str]) -> str:
    """A turn that hands out subtasks."""
    return _call("create_sub_agents", {"sub_agents": [{"prompt": text} for text in prompts]})


def search(queries: Sequence[str], *, many: bool, **options: int) -> str:
    """A turn that searches; without `many`, for the first query alone."""
    requests = [{"query": query, **options} for query in queries]
    return _call("search", {"queries": requests} if many else requests[0])


def access(urls: Sequence[str], *, many: bool) -> str:
    """A turn that opens pages; without `many`, the first alone."""
    requests = [{"url": url} for url in urls]
    return _call("access", {"urls": requests} if many else requests[0])


def _call(name: str, arguments: object) -> str:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"
