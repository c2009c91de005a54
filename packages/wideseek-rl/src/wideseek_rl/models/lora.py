"""LoRA adapters of the PEFT library in a model that this process trains.

The weights of the model are frozen; the two matrices of each adapted layer are float32 whatever the
type of the weights. Whoever samples gets plain weights: each is merged when it is asked for, so no
second model is ever held.
"""

import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from wideseek_core import CheckpointError, ConfigError
from wideseek_rl.models.lora_config import ADAPTER_CONFIG, LoraConfig
from wideseek_rl.models.lora_files import WEIGHTS, read_settings, read_tensors
from wideseek_rl.models.spread import fill, whole
from wideseek_rl.models.tensor_files import write_tensors

NAME = "default"
"""PEFT's own name of the only adapter of a model."""
PREFIX = "base_model.model."
"""Before every name in an adapter's file."""
MATRICES = ("lora_A", "lora_B")

SEED = 0
"""Of the first matrices: a run that is repeated begins with the same ones."""


def put_adapter(module: nn.Module, config: LoraConfig, start: Path | None = None) -> None:
    """Freezes a model and puts adapters in it: those of the folder `start`, or new ones."""
    if start is None:
        add_adapter(module, config)
    else:
        open_adapter(module, start, config)


def add_adapter(module: nn.Module, config: LoraConfig) -> None:
    """Freezes a model and puts new adapters in it, which change nothing yet.

    Raises `ConfigError` for layers that it does not have, or without the library.
    """
    peft = _library()
    names = {name.rpartition(".")[2] for name, _ in _linear_layers(module)}
    if unknown := [name for name in config.target_modules if name not in names]:
        raise ConfigError(
            f"lora.target_modules: the model has no linear layer {unknown[0]!r}; it has "
            f"{', '.join(sorted(names - {'lm_head'}))}"
        )
    alpha = int(config.alpha) if config.alpha.is_integer() else config.alpha
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.target_modules),
        task_type="CAUSAL_LM",
    )
    _inject(module, settings)


def open_adapter(module: nn.Module, folder: Path, config: LoraConfig | None = None) -> None:
    """Freezes a model and puts the adapters of a folder in it.

    With a `config`, which they are trained further by, they must be as it says. Raises
    `CheckpointError` for files that are damaged or of another model, `ConfigError` otherwise.
    """
    peft, tensors = _library(), read_tensors(folder)
    raw = read_settings(folder)
    if config is not None:
        _check_same(module, folder, raw, tensors, config)
    try:
        settings = peft.LoraConfig.from_pretrained(str(folder))
        settings.inference_mode = False
        settings.init_lora_weights = True
        settings.lora_dropout = 0.0 if config is None else config.dropout
        _inject(module, settings)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        file = folder / ADAPTER_CONFIG
        raise CheckpointError(f"{file}: not for this model: {_line(error)}") from None
    _fill(module, folder, tensors)


def load_adapter(module: nn.Module, folder: Path) -> None:
    """Copies the matrices of a folder into the adapters of a model. Raises `CheckpointError`."""
    _fill(module, folder, read_tensors(folder))


def merge_adapter(module: nn.Module, folder: Path) -> None:
    """Adds the adapters of a folder to the weights of a plain model; all of them train again."""
    open_adapter(module, folder)
    with torch.no_grad():
        for name, layer in list(adapted_layers(module)):
            layer.base_layer.weight.copy_(merged_weight(layer))
            module.set_submodule(name, layer.base_layer)
    del cast(Any, module).peft_config
    module.requires_grad_(True)


def save_adapter(
    module: nn.Module, folder: Path, base: Path | None = None, *, writes: bool = True
) -> None:
    """Writes the adapters in PEFT's format; ranks that do not write take part in gathering.

    `base` is the folder of the model that they are for.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in _matrices(module):
        gathered = whole(parameter.detach())
        if writes:
            tensors[name] = gathered.cpu().contiguous()
    if not writes:
        return
    given = dict[str, Any](cast(Any, module).peft_config[NAME].to_dict())
    # JSON has no sets; the library keeps names in them, and empty ones where there are none.
    settings = {
        key: (sorted(cast(set[str], value)) or None) if isinstance(value, set) else value
        for key, value in given.items()
    }
    settings |= {
        "base_model_name_or_path": None if base is None else str(base),
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=2, sort_keys=True, default=str)
    (folder / ADAPTER_CONFIG).write_text(text + "\n", "utf-8")
    write_tensors(tensors, folder / WEIGHTS)


def has_adapter(module: nn.Module) -> bool:
    """Whether adapters are in a model."""
    return hasattr(module, "peft_config")


def adapted_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers that have an adapter, by name: their `base_layer` is the plain layer."""
    for name, layer in _modules(module):
        if hasattr(layer, "lora_A") and hasattr(layer, "base_layer"):
            yield name, layer


def dropouts(module: nn.Module) -> list[nn.Module]:
    """What drops inputs of adapters, in training mode alone."""
    return [layer.lora_dropout for _, layer in adapted_layers(module)]


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None]:
    """What is drawn inside follows from the seed; what is drawn later does not depend on it."""
    random: Any = torch.random
    with random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        random.manual_seed(seed)
        yield


@torch.no_grad()
def merged_weight(layer: Any) -> Tensor:
    """The weight of an adapted layer with its adapter added, in the type of the weight."""
    base = whole(layer.base_layer.weight.detach())
    down, up = (whole(getattr(layer, key)[NAME].weight.detach()) for key in MATRICES)
    added = (up.float() @ down.float()) * layer.scaling[NAME]
    return (base.float() + added).to(base.dtype)


@dataclass(frozen=True, slots=True)
class PlainTensor:
    """A tensor of a model under its name without adapters."""

    name: str
    tensor: Tensor
    """Without the adapter, and perhaps spread over ranks."""
    layer: Any = None
    """The adapted layer whose weight it is."""

    def value(self) -> Tensor:
        """The tensor as whoever samples wants it."""
        return self.tensor.detach() if self.layer is None else merged_weight(self.layer)


def plain_tensors(
    module: nn.Module, named: Iterable[tuple[str, Tensor]] | None = None
) -> Iterator[PlainTensor]:
    """The tensors of a model, or those `named`, as they would be without adapters."""
    layers = {f"{name}.weight": layer for name, layer in adapted_layers(module)}
    for own, tensor in module.named_parameters() if named is None else named:
        if any(f".{matrix}." in own for matrix in MATRICES):
            continue
        name = own.replace(".base_layer.", ".")
        yield PlainTensor(name, tensor, layers.get(name))


class PlainState(Mapping[str, Tensor]):
    """The state dict that a model would have without adapters; merged one tensor at a time."""

    def __init__(self, module: nn.Module) -> None:
        found = plain_tensors(module, module.state_dict().items())
        self._tensors = {tensor.name: tensor for tensor in found}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].value()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _library() -> Any:
    try:
        import peft
    except ModuleNotFoundError:
        raise ConfigError("lora needs the peft library: install wideseek-rl[lora]") from None
    return peft


def _modules(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(cast(Any, module).named_modules())


def _linear_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in _modules(module):
        if isinstance(layer, nn.Linear):
            yield name, layer


def _inject(module: nn.Module, settings: Any) -> None:
    """Raises `ConfigError` where an adapter would not be a product beside a linear layer."""
    with seeded(SEED, torch.device("cpu")):
        _library().inject_adapter_in_model(settings, module, NAME)
    for name, layer in adapted_layers(module):
        if not isinstance(layer.base_layer, nn.Linear):
            raise ConfigError(f"lora.target_modules: {name} is no plain linear layer")
    for _, parameter in _matrices(module):
        parameter.data = parameter.data.float()
    for layer in dropouts(module):
        layer.eval()


def _matrices(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The trained matrices by their names in an adapter's file."""
    for name, layer in adapted_layers(module):
        for matrix in MATRICES:
            yield f"{PREFIX}{name}.{matrix}.weight", getattr(layer, matrix)[NAME].weight


def _fill(module: nn.Module, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises `CheckpointError` unless the tensors are those of the model's adapters."""
    file, left = folder / WEIGHTS, dict(tensors)
    for name, parameter in _matrices(module):
        values = left.pop(name, None)
        if values is None:
            raise CheckpointError(f"{file}: no tensor {name!r}")
        if values.shape != parameter.shape:
            shapes = f"{list(values.shape)}, expected {list(parameter.shape)}"
            raise CheckpointError(f"{file}: {name!r} has shape {shapes}")
        if not bool(torch.isfinite(values).all()):
            raise CheckpointError(f"{file}: {name!r} holds numbers that are not finite")
        fill(parameter.data, values)
    if left:
        raise CheckpointError(f"{file}: unknown tensor {min(left)!r}")


def _check_same(
    module: nn.Module,
    folder: Path,
    raw: Mapping[str, Any],
    tensors: Iterable[str],
    config: LoraConfig,
) -> None:
    """Raises `ConfigError` if the adapters of a folder are others than a configuration names."""
    found = raw.get("r"), raw.get("lora_alpha")
    for key, wanted, value in zip(
        ("rank", "alpha"), (config.rank, config.alpha), found, strict=True
    ):
        if not isinstance(value, int | float) or not math.isclose(value, wanted):
            raise ConfigError(f"lora.{key} is {wanted:g}, but {value} in {folder / ADAPTER_CONFIG}")
    adapted = {name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in tensors}
    wanted = {
        name
        for name, _ in _linear_layers(module)
        if name.rpartition(".")[2] in config.target_modules
    }
    if other := adapted ^ wanted:
        raise ConfigError(
            f"lora.target_modules: {', '.join(config.target_modules)}; the adapters in {folder} "
            f"are of other layers, say {min(other)}"
        )


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
