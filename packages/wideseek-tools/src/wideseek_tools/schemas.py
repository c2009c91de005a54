"""The two tools as models see them, and as text they get back."""

from collections.abc import Sequence

from wideseek_core.counting import counted
from wideseek_core.messages import ToolSpec
from wideseek_core.search import Document, Page

MAX_TOPK = 50
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
                "maximum": MAX_TOPK,
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
        "properties": {
            "url": {"type": "string", "description": "The page's URL."},
            "offset": {
                "type": "integer",
                "description": "Where to begin in a long page, in characters.",
                "minimum": 0,
                "default": 0,
            },
        },
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
        f"[{rank}] {document.title or document.url}\n{document.url}\n{document.text}"
        for rank, document in enumerate(documents, 1)
    )


def page_text(page: Page, max_chars: int, offset: int = 0) -> str:
    """At most `max_chars` characters of a page from `offset` on, and how to read the rest."""
    end = offset + max_chars
    text = page.text[offset:end]
    left = len(page.text) - end
    if offset and not text:
        text = f"[the page has {counted(len(page.text), 'character')}]"
    more = f"\n[{counted(left, 'more character')}: read on with offset={end}]" if left > 0 else ""
    return f"{page.title or page.url}\n{page.url}\n\n{text}{more}"
