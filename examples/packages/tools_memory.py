"""wideseek-tools alone: search and read pages of your own, without an index or a service."""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from wideseek_core import load_config
from wideseek_tools import ToolsConfig, open_tools

PAGES = [
    {"url": "https://moons.example/triton", "title": "Triton", "contents": "A moon of Neptune."},
    {"url": "https://moons.example/io", "title": "Io", "contents": "A moon of Jupiter, volcanic."},
]


async def main(pages: Path) -> None:
    """Searches and reads what a configuration names."""
    settings = ["search.kind=memory", f"search.pages={pages}"]
    settings += ["pages.kind=memory", f"pages.path={pages}"]
    async with open_tools(load_config(ToolsConfig, settings)) as tools:
        for document in await tools.search.search("volcanic moon", 1):
            page = await tools.pages.read(document.url)
            print(document.title, "-", page.text)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pages.jsonl"
        path.write_text("".join(json.dumps(page) + "\n" for page in PAGES))
        asyncio.run(main(path))
