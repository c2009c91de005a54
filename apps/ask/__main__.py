"""Answers one question: `uv run apps/ask "List the ..." [CONFIG.yaml ...] [a.b=c ...]`."""

import asyncio
import sys

from wideseek_apps.asking import AskConfig, ask
from wideseek_core.config import exit_on_error, load_config
from wideseek_core.progress import logging_to_console, show


def main() -> None:
    """Answers, and names the sources."""
    with exit_on_error(), logging_to_console():
        show(asyncio.run(ask(load_config(AskConfig, sys.argv[1:], sentence="question"))))


if __name__ == "__main__":
    main()
