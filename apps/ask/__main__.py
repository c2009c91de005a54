"""Answers one question: `uv run apps/ask "List the ..." [CONFIG.yaml ...] [a.b=c ...]`."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from wideseek_apps.asking import AskConfig, ask
from wideseek_core.config import exit_on_error, load_config
from wideseek_core.progress import logging_to_console, show


def split(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The words of the question, and everything else."""
    words = [word for word in arguments if _is_word(word)]
    return " ".join(words), [word for word in arguments if not _is_word(word)]


def _is_word(argument: str) -> bool:
    key = argument.partition("=")[0]
    override = "=" in argument and key.replace(".", "").replace("_", "").isalnum()
    return not override and not argument.startswith("-") and not _is_config(argument)


def _is_config(argument: str) -> bool:
    return Path(argument).suffix in (".yaml", ".yml")


def main() -> None:
    """Answers, and names the sources."""
    with exit_on_error(), logging_to_console():
        question, others = split(sys.argv[1:])
        asked = [f"question={json.dumps(question)}"] if question else []
        show(asyncio.run(ask(load_config(AskConfig, [*others, *asked]))))


if __name__ == "__main__":
    main()
