"""How a sub-command starts: settings are read and checked first, then the work begins."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import yaml

from wideseek_core import Config, ConfigError
from wideseek_core.commands import Program
from wideseek_core.exits import HelpRequested, leave_on_interrupt, raise_on_interrupt
from wideseek_core.progress import logging_to_console, show
from wideseek_core.redaction import REDACTED
from wideseek_core.runs import plain


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
    """Runs a command of a package's own program, in whose usage `shown` is the program's name."""
    try:
        with working():
            program.run(arguments)
    except HelpRequested as request:
        raise HelpRequested(_renamed(str(request), program.name, shown)) from None
    except ConfigError as error:
        raise ConfigError(_renamed(str(error), program.name, shown)) from None


def _renamed(text: str, program: str, shown: str) -> str:
    return text.replace(f"{program} ", f"{shown} ")


def show_settings(config: Config) -> None:
    """What `--dry-run` shows: every setting, as a YAML file that can be given back.

    Passwords and keys in it are left out, as they are in what a run stores.
    """
    text = yaml.safe_dump(plain(config), allow_unicode=True, sort_keys=False, width=100)
    hidden = " ([redacted]: what is secret is not shown)" if REDACTED in text else ""
    show(f"# Nothing was run. These are the settings{hidden}:\n{text.rstrip()}")
