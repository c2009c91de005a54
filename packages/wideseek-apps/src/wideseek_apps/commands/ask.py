"""`wideseek ask`: questions, answered with a table or a text and its sources."""

import asyncio
from collections.abc import Iterator, Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments

USAGE = 'wideseek ask ["QUESTION"] [CONFIG.yaml ...] [KEY=VALUE ...] [--markdown|--csv|--json]'
_FORMS = ("--markdown", "--csv", "--json")


def run(arguments: Sequence[str]) -> None:
    """Answers the question, or opens a prompt. Exits with 1 for an answer that is unsupported."""
    from wideseek_apps.ask_config import AskConfig, check_ask, is_interactive, piped_question
    from wideseek_apps.launch import show_settings, working

    settings = list(_settings(arguments))
    loaded = load_arguments(AskConfig, settings, sentence="question", usage=USAGE)
    config = loaded.config
    check_ask(config)
    if loaded.dry_run:
        show_settings(config)
        return
    asked = bool(config.question.strip())
    if not asked and not is_interactive():
        config, asked = config.model_copy(update={"question": piped_question()}), True
    from wideseek_apps.asking import ask, converse, present, prompt

    with working():
        if not asked:
            asyncio.run(converse(config, prompt))
            return
        answered = asyncio.run(ask(config))
    present(answered)
    if answered.interrupted:
        raise KeyboardInterrupt
    if not answered.supported:
        raise SystemExit(1)


def _settings(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments with short options written as settings; what is behind `--` is a question."""
    words = False
    for argument in arguments:
        words = words or argument == "--"
        yield f"form={argument[2:]}" if argument in _FORMS and not words else argument


COMMAND = Command(
    summary="Answer questions, each with its sources.", run=run, group="Evaluate and ask"
)
