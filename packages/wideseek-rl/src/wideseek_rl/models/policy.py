"""The language model that is sampled and trained: where it is, and its module where it is wanted.

Torch is imported only by those who ask for the module or the device.
"""

import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from wideseek_core import Config, ConfigError
from wideseek_rl.models import smollm2
from wideseek_rl.models.lora_config import adapter_folder
from wideseek_rl.models.manifest import check_manifest, check_part, is_checkpoint
from wideseek_rl.models.names import START, named_model
from wideseek_rl.models.start_policy import start_policy

if TYPE_CHECKING:
    from wideseek_rl.models.open import TrainableModel


class ModelConfig(Config):
    """A model in Hugging Face format on this machine."""

    model: str = Field(default=START, min_length=1)
    """A model folder, a training checkpoint or the folder of a training run, which means its newest
    checkpoint, `start` for the small policy of wideseek-rl, or `smollm2` for SmolLM2-135M with
    wideseek-rl's adapter."""
    adapter: Path | None = None
    """A LoRA adapter of the model in PEFT's format, or a checkpoint that holds one. It is merged
    into the weights, or trained further where the trainer has `lora` settings."""
    device: str = "auto"
    """`auto` takes the GPU if there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the parameters."""

    @field_validator("model", mode="after")
    @classmethod
    def _newest_checkpoint(cls, value: str) -> str:
        # Here, so that a run that is resumed has the same model after further training.
        return named_model(value)


class PolicyModel:
    """The model of a configuration.

    Engines and trainers of this process share one module; those that run elsewhere only need the
    folder, and then nothing is loaded here.

    Raises `ConfigError` for a folder that does not exist, `CheckpointError` for a checkpoint that
    is damaged.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.folder = model_folder(config.model)
        own = smollm2.adapter_folder() if config.model == smollm2.NAME else None
        self.adapter = own if config.adapter is None else adapter_folder(config.adapter)
        if self.adapter is not None:
            check_part(self.adapter)

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer of the model."""
        return self.folder / "tokenizer.json"

    @cached_property
    def device(self) -> str:
        """The device by its own name. Raises `ConfigError` if it is not there."""
        return chosen_device(self.config.device)

    @cached_property
    def module(self) -> "TrainableModel":
        """The module, loaded when it is first asked for, its adapter merged.

        Raises `CheckpointError`.
        """
        return self._complete(self.device)

    def load_base(self) -> "TrainableModel":
        """Another module, without the adapter. Raises `CheckpointError`."""
        return self._load(self.device)

    @cached_property
    def complete_folder(self) -> Path:
        """A folder with the adapter merged, for programs that load a model themselves.

        Where there is an adapter it is a temporary one, which lives as long as this.
        """
        if self.adapter is None:
            return self.folder
        from wideseek_rl.models.open import save_any_model

        work = tempfile.mkdtemp(prefix="wideseek-merged-")
        weakref.finalize(self, shutil.rmtree, work, ignore_errors=True)
        target = Path(work) / "model"
        save_any_model(self._complete("cpu"), target, self.tokenizer_file)
        return target

    def _load(self, device: str) -> "TrainableModel":
        import torch

        from wideseek_rl.models.open import open_model

        return open_model(self.folder, device, getattr(torch, self.config.dtype))

    def _complete(self, device: str) -> "TrainableModel":
        module = self._load(device)
        if self.adapter is not None:
            from wideseek_rl.models.lora import merge_adapter
            from wideseek_rl.models.open import network

            merge_adapter(network(module), self.adapter)
        return module


def model_folder(name: str) -> Path:
    """The folder of a model's name, the files of a checkpoint checked against its manifest.

    Raises `ConfigError` if there is none, `CheckpointError` for a damaged checkpoint.
    """
    if name == smollm2.NAME:
        return smollm2.find_base()
    folder = start_policy() if name == START else Path(named_model(name))
    if not folder.is_dir():
        raise ConfigError(f"policy.model: no such folder: {folder}")
    inner = folder / "model"  # in a checkpoint the optimizer is beside the model
    if is_checkpoint(folder):
        check_manifest(folder, below="model/")
        return inner
    if inner.is_dir() and not (folder / "config.json").exists():
        folder = inner
    check_part(folder)
    return folder


def chosen_device(name: str) -> str:
    """The device of a name, where `auto` is the GPU if there is one. Raises `ConfigError`."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return name
