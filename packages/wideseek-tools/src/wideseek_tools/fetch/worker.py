"""The process that turns HTML into text.

It runs apart so that a page which takes for ever, or too much memory, costs a process and no more.
"""

import logging
import re
import resource
import sys
from typing import Any, cast

import lxml.html
import trafilatura

from wideseek_core.frames import JSON
from wideseek_core.headers import BYTE_ORDER_MARKS, python_charset
from wideseek_core.helper import serve

MAX_MEMORY_BYTES = 2_000_000_000
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_META_BYTES = 4096
"""How far a page is searched for the charset it states itself."""
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")


def extract(content: bytes, url: str, charset: str = "") -> tuple[str, str]:
    """Title and main text of an HTML page, tables as Markdown."""
    page = decoded_page(content, charset)
    text = trafilatura.extract(
        page,
        url=url,
        output_format="markdown",
        include_tables=True,
        include_comments=False,
        favor_recall=True,
    )
    tree = cast(Any, trafilatura.load_html(page))  # lxml has no type information
    if tree is None:  # it takes a page without the usual frame for none
        if not page.strip():
            return "", text or ""
        tree = cast(Any, lxml.html).document_fromstring(page)
    title = str(tree.findtext(".//title") or "").strip()
    return title, text or _all_text(tree)


def decoded_page(content: bytes, charset: str) -> bytes | str:
    """The page as text, where its charset is stated; else its bytes, for the parser to guess.

    As in the HTML standard, a byte order mark comes first, then the header, then the page's own
    statement; one that the bytes contradict counts after those that they do not.
    """
    for mark, name in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return _without_declaration(content[len(mark) :].decode(name, "replace"))
    header = python_charset(charset)
    if header is None:
        return content
    stated = _META_CHARSET.search(content[:_META_BYTES])
    own = python_charset(stated[1].decode("ascii", "replace")) if stated else None
    for name in (header, own):
        try:
            return _without_declaration(content.decode(name or "ascii"))
        except UnicodeDecodeError:
            continue
    return _without_declaration(content.decode(header, "replace"))


def _without_declaration(page: str) -> str:
    """The text without the XML declaration, which names an encoding that text no longer has."""
    return _XML_DECLARATION.sub("", page)


def _all_text(tree: Any) -> str:
    """Every visible word, where no main text was found."""
    for element in list(tree.iter("script", "style", "noscript")):
        element.drop_tree()
    return "\n".join(
        " ".join(line.split()) for line in tree.text_content().splitlines() if line.split()
    )


def handle(request: dict[str, str]) -> tuple[str, str]:
    """Title and text of the page in a request."""
    content = request["page"].encode("latin-1")
    try:
        return extract(content, request["url"], request["charset"])
    except Exception:  # noqa: BLE001 - hostile HTML may raise anything; the page has no text
        return "", ""


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    if sys.platform == "linux":  # macOS refuses a limit of the address space
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    serve(handle, JSON)
