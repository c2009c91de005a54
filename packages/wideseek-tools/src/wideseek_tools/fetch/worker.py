"""The process that turns HTML into text: reads requests from stdin, writes answers to stdout.

It runs apart so that a page which takes for ever, or too much memory, costs a process and no more.
"""

import json
import logging
import resource
import struct
import sys
from typing import Any, BinaryIO, cast

import trafilatura

MEMORY_BYTES = 2_000_000_000


def extract(content: bytes, url: str) -> tuple[str, str]:
    """Title and main text of an HTML page, tables as Markdown."""
    text = trafilatura.extract(
        content,
        url=url,
        output_format="markdown",
        include_tables=True,
        include_comments=False,
        favor_recall=True,
    )
    tree = cast(Any, trafilatura.load_html(content))  # lxml has no type information
    if tree is None:
        return "", text or ""
    title = str(tree.findtext(".//title") or "").strip()
    return title, text or _all_text(tree)


def _all_text(tree: Any) -> str:
    """Every visible word, where no main text was found."""
    for element in list(tree.iter("script", "style", "noscript")):
        element.drop_tree()
    return "\n".join(
        " ".join(line.split()) for line in tree.text_content().splitlines() if line.split()
    )


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def main() -> None:
    """Serves until stdin ends. A request: two lengths, the URL, the page."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            url_size, page_size = struct.unpack("!II", _read(stdin, 8))
            url = _read(stdin, url_size).decode()
            page = _read(stdin, page_size)
        except EOFError:
            return
        try:
            title, text = extract(page, url)
        except Exception:  # noqa: BLE001 - hostile HTML may raise anything; the page has no text
            title, text = "", ""
        answer = json.dumps([title, text]).encode()
        stdout.write(struct.pack("!I", len(answer)) + answer)
        stdout.flush()


if __name__ == "__main__":
    main()
