"""`wideseek sft`: a small policy from nothing, by supervised training on demonstrations."""

from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

USAGE = "wideseek sft [CONFIG.yaml ...] [KEY=VALUE ...]"


def run(arguments: Sequence[str]) -> None:
    """Makes the policy."""
    from wideseek_apps.launch import show_settings, working
    from wideseek_apps.sft_config import SftConfig, check_sft

    loaded = load_arguments(SftConfig, arguments, usage=USAGE)
    check_sft(loaded.config)
    if loaded.dry_run:
        show_settings(loaded.config)
        return
    from wideseek_apps.start_policy import loss_text, make_start_policy

    with working():
        made = make_start_policy(loaded.config)
    show(f"{loss_text(made)} after {made.seconds:.0f} s: {loaded.config.folder}")


COMMAND = Command(
    summary="Make a small policy by supervised training on demonstrations.", run=run, group="Train"
)
