"""The sub-commands of `wideseek`.

Each module of `commands/` is one sub-command: its name is the module's, and it defines `COMMAND`.
A module there imports nothing but wideseek_core at its top, so that help and typing errors are
answered at once.
"""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from wideseek_apps import commands
from wideseek_core.commands import Command, Program
from wideseek_core.config import set_environment_default
from wideseek_core.exits import exit_on_error

GROUPS = ("Train", "Evaluate and ask", "Runs and responses", "Search and pages", "Machine")
"""The headings of the overview, in order. Other groups follow them."""


def run(arguments: Sequence[str]) -> None:
    """Runs the sub-command that the arguments name."""
    # Torch reads this when it is loaded. Threads that spin while they wait for each other cost a
    # busy machine most of its speed; asleep, they cost their share.
    set_environment_default("OMP_WAIT_POLICY", "PASSIVE")
    with exit_on_error():
        program().run(arguments)


def program() -> Program:
    """The command with all its sub-commands."""
    found = {command_name(module.name): _load(module.name) for module in _modules()}
    order = {group: place for place, group in enumerate(GROUPS)}
    ranked = sorted(found.items(), key=lambda item: order.get(item[1].group, len(order)))
    return Program(
        name="wideseek",
        summary="Wide information seeking with a lead agent and parallel subagents.",
        distribution="wideseek-apps",
        commands=dict(ranked),
    )


def command_name(module: str) -> str:
    """`schedule-sim` for the module `schedule_sim`, `import` for `import_`."""
    return module.rstrip("_").replace("_", "-")


def _modules() -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(commands.__path__))


def _load(module: str) -> Command:
    command: object = import_module(f"{commands.__name__}.{module}").COMMAND
    assert isinstance(command, Command), f"{module} defines no command"
    return command
