"""What NeMo-Aligner 0.7.0 needs in order to run without NVIDIA's container: imported first.

Each patch says why it is there. They are made for exactly the versions in `VERSIONS`; with any
other, `install` raises, since a patch that no longer fits fails silently.
"""

import contextlib
import sys
import types
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from wideseek_core import ConfigError

VERSIONS = {
    "nemo-aligner": "0.7.0",
    "nemo-toolkit": "2.2.1",
    "megatron-core": "0.12.3",
    "lightning": "2.4.0",
}
"""The releases that the patches were written for."""


def install() -> None:
    """Makes NeMo-Aligner importable. Call it before anything of NeMo or Megatron is imported.

    Raises `ConfigError` if a package is missing or of another version.
    """
    check_versions()
    _stub_trt_llm()
    if not torch.cuda.is_available():
        _run_on_cpu()
    _complete_nemo()


def check_versions() -> None:
    """Raises `ConfigError` naming the first package that is not the release it has to be."""
    for package, wanted in VERSIONS.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            raise ConfigError(
                f"trainer.kind=nemo_aligner needs {package} {wanted}, which is {found}: "
                "install the extra nemo-aligner in an environment of its own"
            )


def _stub_trt_llm() -> None:
    """`nemo_aligner.utils.trt_llm` imports tensorrt_llm without a guard; nobody generates there."""

    class GPTGenerateTRTLLM:
        def __init__(self, *_: Any, **__: Any) -> None:
            raise ConfigError("generation by TensorRT-LLM is not available")

    stub = types.ModuleType("nemo_aligner.utils.trt_llm")
    stub.__dict__["GPTGenerateTRTLLM"] = GPTGenerateTRTLLM
    sys.modules[stub.__name__] = stub


def _complete_nemo() -> None:
    """Replaces what NeMo takes from apex or TransformerEngine without a guard."""
    overrides = import_module("nemo.collections.nlp.parts.nlp_overrides")
    # NLPDDPStrategy refuses to be constructed without apex, but uses nothing of it.
    overrides.__dict__["HAVE_APEX"] = True
    # NLPModel lists pretrained BERT names through a module that can't be imported without apex.
    nlp_model = import_module("nemo.collections.nlp.models.nlp_model")
    nlp_model.__dict__["get_megatron_pretrained_bert_models"] = list
    # NeMo takes this function from apex; megatron-core has the same.
    layers = import_module("megatron.core.tensor_parallel.layers")
    name = "set_defaults_if_not_set_tensor_model_parallel_attributes"
    build = import_module("nemo.collections.nlp.modules.common.megatron.build_model")
    build.__dict__[name] = layers.__dict__[name]


class _CudaNamesCpu(TorchFunctionMode):
    """Tensors made with `device="cuda"` are made on the CPU: schedules and timers ask for it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if str(given.get("device", "")).startswith("cuda"):
            given["device"] = torch.device("cpu")
        return func(*args, **given)


def _run_on_cpu() -> None:
    """Points the places where megatron-core and NeMo name CUDA without asking at the CPU."""
    cpu = torch.device("cpu")
    torch.cuda.current_device = lambda: cpu  # type: ignore[assignment]
    torch.cuda.synchronize = lambda *_, **__: None
    torch.cuda.empty_cache = lambda: None
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    _CudaNamesCpu().__enter__()
    random = import_module("megatron.core.tensor_parallel.random")
    # Dropout (which is 0) forks a CUDA generator that no CPU run registers.
    random.__dict__["CudaRNGStatesTracker"].fork = lambda self, name="model-parallel-rng": (
        contextlib.nullcontext()
    )
    # Recomputed layers save and restore CUDA generators.
    random.__dict__["_get_all_rng_states"] = tuple
    random.__dict__["_set_all_rng_states"] = lambda *_: None
    random.__dict__["_fork_rng"] = contextlib.nullcontext
