"""What NeMo-Aligner 0.7.0 needs in order to run without NVIDIA's container: imported first.

Each patch says why it is there. They are made for exactly the versions in `VERSIONS`; with any
other, `install` raises, since a patch that no longer fits fails silently.
"""

import contextlib
import sys
import types
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from wideseek_core import ConfigError, TrainError

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
    _refuse_defects()
    _keep_memory()


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


def _refuse_defects() -> None:
    """Makes what is wrong in NeMo-Aligner raise: none of it may take part in a run.

    `ReinforceRolloutBatch.chunk` gives every data-parallel rank the whole batch, and the baseline
    takes responses for a group when their prompts are equal.
    """
    reinforce = import_module("nemo_aligner.algorithms.reinforce")
    reinforce.__dict__["ReinforceRolloutBatch"].chunk = _refused("ReinforceRolloutBatch.chunk")
    reinforce.__dict__["calculate_rloo_baseline"] = _refused("calculate_rloo_baseline")


def _keep_memory() -> None:
    """Twice an update NeMo-Aligner returns all unused GPU memory, to ask for as much right after.

    It would make room for its own generation, which happens elsewhere here.
    """
    reinforce = import_module("nemo_aligner.algorithms.reinforce")
    reinforce.__dict__["clear_memory"] = lambda: None


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise TrainError(f"NeMo-Aligner's {name} is wrong in this release and must not be called")

    return refuse


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
    _compute_in_the_type_of_the_input(layers)
    rope = import_module("megatron.core.models.common.embeddings.rope_utils")
    kernels = import_module("wideseek_rl.trainers.megatron.kernels")
    # megatron-core has a single kernel for it in TransformerEngine alone.
    rope.__dict__["_apply_rotary_pos_emb_bshd"] = lambda states, angles, **_: kernels.rotary(
        states, angles
    )
    # The distributed optimizer asks for TransformerEngine's release even where nothing is in FP8.
    sharding = import_module("megatron.core.optimizer.distrib_optimizer")
    quantize = sharding.__dict__["quantize_param_shard"]

    def quantize_if_any(model_params: Any, *rest: Any, **named: Any) -> None:
        if model_params:
            quantize(model_params, *rest, **named)

    sharding.__dict__["quantize_param_shard"] = quantize_if_any


def _compute_in_the_type_of_the_input(layers: types.ModuleType) -> None:
    """Linear layers cast their float32 weights to the type of the hidden states.

    Autocast would do so too, but megatron-core computes layers again outside of it.
    """
    name = "linear_with_grad_accumulation_and_async_allreduce"
    linear = layers.__dict__[name]

    def cast(input: Any, weight: Any, bias: Any, *rest: Any, **named: Any) -> Any:
        bias = None if bias is None else bias.to(input.dtype)
        return linear(input, weight.to(input.dtype), bias, *rest, **named)

    # The function reads this attribute of whatever has its name.
    cast.__dict__["warned"] = True
    layers.__dict__[name] = cast


class _CudaNamesCpu(TorchFunctionMode):
    """Tensors made with `device="cuda"` are made on the CPU: schedules and timers ask for it.

    Tensors of the CPU call themselves ones of CUDA: the distributed optimizer asks for that.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if str(given.get("device", "")).startswith("cuda"):
            given["device"] = torch.device("cpu")
        found = func(*args, **given)
        if func == torch.Tensor.type and isinstance(found, str):
            return f"torch.cuda.{found.rpartition('.')[2]}"
        return found


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
