"""The small policy that comes with the package: where training on a laptop begins."""

from pathlib import Path

from wideseek_core import DataError


def start_policy() -> Path:
    """The folder of the start policy, in Hugging Face format, with its tokenizer.

    Its `README.md` says how it was made. Raises `DataError` if the installation lacks it.
    """
    folder = Path(__file__).parents[1] / "start_policy"
    if not (folder / "model.safetensors").is_file():
        raise DataError(f"the installation lacks the start policy ({folder})")
    return folder
