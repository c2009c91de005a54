"""How a sub-command starts: settings are read and checked first, then the work begins."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import yaml

from wideseek_core import Config
from wideseek_core.commands import Program
from wideseek_core.exits import HelpRequested, leave_on_interrupt, raise_on_interrupt
from wideseek_core.progress import logging_to_console, show


@contextmanager
def working() -> Generator[None]:
    """The time in which a command works: its log is shown, and Ctrl-C lets it close its files."""
    with logging_to_console():
        raise_on_interrupt()
        try:
            yield
        finally:
            leave_on_interrupt()


def pass_on(program: Program, arguments: Sequence[str], *, shown: str = "wideseek") -> None:
    """Runs a command of a package's own program, in whose help `shown` is the program's name."""
    try:
        with working():
            program.run(arguments)
    except HelpRequested as request:
        text = str(request).replace(f"{program.name} ", f"{shown} ")
        raise HelpRequested(text) from None


def show_settings(config: Config) -> None:
    """What `--dry-run` shows: every setting, as a YAML file that can be given back."""
    plain: object = json.loads(config.model_dump_json())
    text = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=100)
    show(f"# Nothing was run. These are the settings:\n{text.rstrip()}")
