"""A console program of sub-commands, in the one style that all of them share.

What a command needs is imported when it runs, so that `--help`, `--version` and a misspelled name
are answered at once.
"""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from wideseek_core.errors import ConfigError
from wideseek_core.exits import HelpRequested, exit_on_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A sub-command."""

    summary: str
    """One line for the list of commands, such as "Answer one question."."""
    run: Callable[[Sequence[str]], None]
    """Gets the arguments behind the command's name. Raises `WideSeekError`, `HelpRequested`."""
    group: str = "Commands"
    """The heading that the command is listed under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A console program."""

    name: str
    summary: str
    distribution: str
    """The distribution whose version `--version` shows."""
    commands: Mapping[str, Command]

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Runs the command that the arguments name; by default those of the process."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        with exit_on_error():
            self.run(given)

    def run(self, arguments: Sequence[str]) -> None:
        """The same, raising instead of exiting."""
        name, *rest = arguments or ["--help"]
        if name == "help" and rest:
            name, rest = rest[0], ["--help", *rest[1:]]
        if name in ("-h", "--help", "help"):
            raise HelpRequested(self.overview())
        if name == "--version":
            raise HelpRequested(f"{self.name} {installed_version(self.distribution)}")
        command = self.commands.get(name)
        if command is None:
            raise ConfigError(self._unknown(name))
        command.run(rest)

    def overview(self) -> str:
        """The list of commands."""
        lines = [self.summary, "", f"usage: {self.name} COMMAND [ARGUMENT ...]"]
        width = max(map(len, self.commands))
        for group in dict.fromkeys(command.group for command in self.commands.values()):
            lines += ["", f"{group}:"]
            lines += [
                f"  {name:{width}}  {command.summary}"
                for name, command in self.commands.items()
                if command.group == group
            ]
        return "\n".join([*lines, "", f"{self.name} COMMAND --help describes a command."])

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.commands, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.commands)}"
        return f"unknown command {name!r}; {hint}"


def installed_version(distribution: str) -> str:
    """The version of an installed distribution; "unknown" if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
