"""The two tools as models see them, and as text they get back."""

from collections.abc import Sequence

from wideseek_core.messages import ToolSpec
from wideseek_core.search import Document, Page

SEARCH = ToolSpec(
    name="search",
    description="Searches for passages. Gives titles, URLs and text, best first.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for."},
            "topk": {
                "type": "integer",
                "description": "How many results.",
                "minimum": 1,
                "maximum": 50,
                "default": 5,
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)
ACCESS = ToolSpec(
    name="access",
    description="Reads the page at a URL, for instance one that search gave.",
    parameters={
        "type": "object",
        "properties": {"url": {"type": "string", "description": "The page's URL."}},
        "required": ["url"],
        "additionalProperties": False,
    },
)


def openai_tools() -> list[dict[str, object]]:
    """Both tools for the `tools` field of an OpenAI-style request."""
    return [dict(SEARCH.schema()), dict(ACCESS.schema())]


def documents_text(documents: Sequence[Document]) -> str:
    """Search results as numbered text."""
    if not documents:
        return "No results."
    return "\n\n".join(
        f"[{rank}] {one.title or one.url}\n{one.url}\n{one.text}"
        for rank, one in enumerate(documents, 1)
    )


def page_text(page: Page, max_chars: int) -> str:
    """A page as text, cut off after `max_chars` characters."""
    cut = page.text[:max_chars]
    more = f"\n[{len(page.text) - max_chars} more characters]" if len(page.text) > max_chars else ""
    return f"{page.title or page.url}\n{page.url}\n\n{cut}{more}"
