"""`wideseek ask`: one question, answered with a table or a text and its sources."""

import asyncio
from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

USAGE = 'wideseek ask "QUESTION" [CONFIG.yaml ...] [KEY=VALUE ...]'


def run(arguments: Sequence[str]) -> None:
    """Answers the question. Exits with 1 for an answer that is not supported."""
    from wideseek_apps.ask_config import AskConfig, check_ask
    from wideseek_apps.launch import show_settings, working

    loaded = load_arguments(AskConfig, arguments, sentence="question", usage=USAGE)
    check_ask(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    from wideseek_apps.asking import ask

    with working():
        answered = asyncio.run(ask(loaded.config))
    show(answered.text)
    if not answered.supported:
        raise SystemExit(1)


COMMAND = Command(summary="Answer one question.", run=run, group="Evaluate and ask")
