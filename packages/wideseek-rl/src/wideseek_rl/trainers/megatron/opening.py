"""Sets NeMo-Aligner up around one model, in every rank. Imported after `compat.install`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from nemo.collections.nlp.parts.nlp_overrides import NLPDDPStrategy
from nemo_aligner.utils.train_script_utils import (
    extract_optimizer_scheduler_from_ptl_model,
    init_distributed,
    init_using_ptl,
)
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wideseek_core import CheckpointError
from wideseek_core.config import environment
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.hf_format import read_config, save_folder
from wideseek_rl.models.rope import frequencies
from wideseek_rl.models.tensor_files import read_tensors, write_model_tensors, write_tensors
from wideseek_rl.trainers.megatron.actor import PolicyActor, actor_class
from wideseek_rl.trainers.megatron.batches import collate, pack
from wideseek_rl.trainers.megatron.environment import RankEnvironment
from wideseek_rl.trainers.megatron.fit import Client, PolicyTrainer
from wideseek_rl.trainers.megatron.layout import Entry
from wideseek_rl.trainers.megatron.optimizers import MOMENTS
from wideseek_rl.trainers.megatron.setup import Setup
from wideseek_rl.trainers.megatron.weights import RankWeights
from wideseek_rl.trainers.remote.meeting import join_ranks
from wideseek_rl.trainers.remote.publishing import Publisher
from wideseek_rl.trainers.remote.requests import (
    Compare,
    Connect,
    Describe,
    Described,
    Digest,
    Done,
    Drift,
    Load,
    Logprobs,
    Metrics,
    Request,
    Save,
    Send,
    Values,
    Weight,
    Weights,
)

OPTIMIZER = "optimizer.safetensors"


class RankStrategy(NLPDDPStrategy):
    """Without torch's DDP, whose buffers would hold all gradients once more.

    The actor sums gradients itself, after the last micro-batch; the distributed optimizer has
    buffers of its own.
    """

    def configure_ddp(self) -> None:
        """Wraps the model where the distributed optimizer wants it."""
        if self.model.use_mcore_dist_optim:
            super().configure_ddp()


class OpenTrainer:
    """A trainer with its model, and what can be asked of them between updates."""

    def __init__(self, setup: Setup, trainer: PolicyTrainer, actor: PolicyActor) -> None:
        self.setup, self.trainer, self.actor = setup, trainer, actor
        self.weights = RankWeights(actor.model, actor.shape)
        self._first = dist.get_rank() == 0
        self._publisher = Publisher(self.weights, first=self._first)

    def answers(self, request: Request) -> Iterator[object]:
        """Carries out what the client asks for between updates; gives what it is answered."""
        match request:
            case Logprobs(samples):
                yield Values(values=self.logprobs(samples))
            case Drift():
                drift = self.weights.drift()
                yield Metrics(values={} if drift is None else {"drift": drift})
            case Save(folder):
                self.save(folder)
                yield Done()
            case Load(folder):
                self.load(folder)
                yield Done()
            case Describe():
                infos = self.weights.metadata()
                yield Described(tensors=[(one.name, one.dtype, one.shape) for one in infos])
            case Weights():
                for name, tensor in self.weights.tensors():
                    values = tensor.float().cpu().numpy() if self._first else NOTHING
                    yield Weight(name=name, values=values)
                yield Done()
            case Connect() | Send() | Digest() | Compare():
                yield self._publisher.answer(request)
            case _:
                raise TypeError(f"not a request between updates: {request}")

    def close(self) -> None:
        """Nothing is asked any more."""
        self._publisher.close()

    def logprobs(self, samples: list[TrainingSample]) -> list[NDArray[Any]]:
        """Log-probabilities of each sample's tokens, 0 where they do not train; on every rank."""
        lengths = [len(sample) for sample in samples]
        packed = pack(lengths, range(len(samples)), self.setup.config.max_batch_tokens)
        batches = [
            collate(samples, chosen, multiple=self.setup.config.tensor_parallel, device=_device())
            for chosen in packed
        ]
        values = [np.zeros(length, dtype=np.float32) for length in lengths]
        for chosen, found in zip(packed, self.actor.logprobs(batches), strict=True):
            counts = np.cumsum([samples[index].trained for index in chosen])[:-1]
            for index, part in zip(chosen, np.split(found.cpu().numpy(), counts), strict=True):
                values[index][samples[index].weights != 0] = part
        return values

    def save(self, folder: Path) -> None:
        """Writes `model/` in Hugging Face format and `optimizer.safetensors`, from rank 0.

        Both are those of the torch trainer, whatever the number of ranks: either can resume them.
        """
        weights = self._kept(self.weights.tensors())
        state = self._kept(self._moments())
        if self._first:

            def write(target: Path) -> None:
                write_model_tensors(weights, target, torch.float32)

            tokenizer = self.setup.model / "tokenizer.json"
            found = tokenizer if tokenizer.is_file() else None
            save_folder(self.actor.shape, folder / "model", found, torch.float32, write)
            write_tensors(state, folder / OPTIMIZER)
        dist.barrier()

    def _kept(self, tensors: Iterator[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """All tensors on the first rank; the others only help to gather them."""
        kept: dict[str, Tensor] = {}
        for name, tensor in tensors:
            if self._first:
                kept[name] = tensor.to("cpu", copy=True).contiguous()
        return kept

    def _moments(self) -> Iterator[tuple[str, Tensor]]:
        updates = self.trainer.reinforce_optimization_step
        yield "updates", torch.tensor(updates)
        yield "broken", torch.tensor(self.trainer.broken)
        if not updates:
            return
        for entry, parameter in self.weights.entries():
            own = {} if parameter is None else self.trainer.adam.moments(parameter)
            if entry.copied:
                continue
            for moment in MOMENTS:
                for name, tensor in self.weights.gather(entry, own.get(moment)).items():
                    yield f"{moment}.{name}", tensor
            for name in entry.parts:
                yield f"step.{name}", torch.tensor(float(updates))

    def load(self, folder: Path) -> None:
        """Takes over what `save` or the torch trainer wrote. Raises `CheckpointError`."""
        self.load_weights(folder / "model")
        path = folder / OPTIMIZER
        try:
            with safe_open(path, framework="pt") as file:
                updates = int(file.get_tensor("updates"))
                known = set(file.keys())
                broken = int(file.get_tensor("broken")) if "broken" in known else 0
                self.trainer.adam.clear()
                for entry, parameter in self.weights.entries():
                    if parameter is not None and f"exp_avg.{entry.parts[0]}" in known:
                        self._fill(file, entry, parameter)
        except (SafetensorError, OSError, KeyError) as error:
            raise CheckpointError(f"{path}: not a whole optimizer file: {error}") from None
        self.trainer.reinforce_optimization_step = updates
        self.trainer.broken = broken

    def _fill(self, file: Any, entry: Entry, parameter: nn.Parameter) -> None:
        moments: dict[str, Tensor] = {}
        for moment in MOMENTS:
            whole = [file.get_tensor(f"{moment}.{name}").float() for name in entry.parts]
            own = self.weights.scatter(entry, whole)
            moments[moment] = own.to(parameter.device, copy=True).contiguous()
        steps = file.get_tensor(f"step.{entry.parts[0]}").float()
        self.trainer.adam.fill(parameter, moments, steps)

    @torch.no_grad()
    def load_weights(self, folder: Path) -> None:
        """Reads a model folder. Raises `CheckpointError`."""
        wanted = list(self.weights.entries())
        missing = {name for entry, _ in wanted for name in entry.parts}
        waiting: dict[tuple[str, ...], dict[str, Tensor]] = {}
        for file, name, tensor in read_tensors(folder, "cpu"):
            missing.discard(name)
            for entry, parameter in wanted:
                if parameter is None or name not in entry.parts:
                    continue
                found = waiting.setdefault(entry.parts, {})
                found[name] = tensor
                if len(found) == len(entry.parts):
                    del waiting[entry.parts]
                    own = self.weights.scatter(entry, [found[part] for part in entry.parts])
                    if own.shape != parameter.shape:
                        raise CheckpointError(
                            f"{file}: {name!r} has another shape than config.json"
                        )
                    parameter.copy_(own)
        if missing:
            raise CheckpointError(f"{folder}: tensor {min(missing)!r} is missing")


NOTHING = np.zeros(0, dtype=np.float32)
"""What ranks other than the first have for an answer; nobody reads it."""


def open_trainer(setup: Setup, client: Client) -> OpenTrainer:
    """The trainer of this rank, with the weights of the model folder.

    Raises `CheckpointError` for a folder that can't be read.
    """
    shape, config = read_config(setup.model), setup.config
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(environment("LOCAL_RANK", "0")))
    trainer = Trainer(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        # Of this host; `RankEnvironment` knows of all ranks, on however many hosts they are.
        devices=int(environment("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(environment("GROUP_WORLD_SIZE", "1")),
        precision="32-true",  # of the parameters; our model computes in its own
        logger=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        max_steps=-1,
        plugins=[RankEnvironment()],
        strategy=RankStrategy(
            no_ddp_communication_hook=True,
            gradient_as_bucket_view=True,
            find_unused_parameters=False,
            process_group_backend=backend,
        ),
    )
    rotary = frequencies(shape.rope, shape.head_dim).to(_device())
    actor = actor_class(shape, rotary, setup.loss, config)(nemo_config(shape, setup), trainer)
    join_ranks(backend)
    init_distributed(trainer, actor, False)
    init_using_ptl(trainer, actor, None, list(range(64)))
    optimizer, _ = extract_optimizer_scheduler_from_ptl_model(actor)
    fit = PolicyTrainer(config, actor, optimizer, client)
    opened = OpenTrainer(setup, fit, actor)
    opened.load_weights(setup.model)
    if setup.loss.kl > 0:
        actor.keep_reference()
    return opened


def nemo_config(shape: DecoderConfig, setup: Setup) -> DictConfig:
    """The model configuration that NeMo reads."""
    config, optimizer = setup.config, setup.config.optimizer
    on_gpus = torch.cuda.is_available()
    values: dict[str, Any] = {
        "micro_batch_size": 1,
        "global_batch_size": config.data_parallel,
        "tensor_model_parallel_size": config.tensor_parallel,
        "pipeline_model_parallel_size": config.pipeline_parallel,
        "sequence_parallel": config.sequence_parallel,
        "encoder_seq_length": config.max_tokens,
        "max_position_embeddings": config.max_tokens,
        "num_layers": shape.layers,
        "hidden_size": shape.hidden_size,
        "ffn_hidden_size": shape.ffn_size,
        "num_attention_heads": shape.heads,
        "num_query_groups": shape.kv_heads,
        "kv_channels": shape.head_dim,
        "qk_layernorm": shape.qk_norm,
        "qkv_bias": shape.qkv_bias,
        "mcore_gpt": True,
        "activation": "fast-swiglu",
        "bias": False,
        "normalization": "RMSNorm",
        "layernorm_epsilon": shape.norm_eps,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "bias_activation_fusion": on_gpus,  # these are compiled
        "bias_dropout_add_fusion": on_gpus,
        "masked_softmax_fusion": False,
        "gradient_accumulation_fusion": False,
        "persist_layer_norm": False,
        "use_cpu_initialization": not on_gpus,
        "transformer_engine": False,
        "megatron_amp_O2": False,
        "precision": "32",
        "seed": 1,
        "position_embedding_type": "rope",
        "share_embeddings_and_output_weights": shape.tied_embeddings,
        "make_vocab_size_divisible_by": 1,
        "activations_checkpoint_granularity": None,  # see `set_recompute`
        "activations_checkpoint_method": None,
        "activations_checkpoint_num_layers": None,
        "activations_checkpoint_layers_per_pipeline": None,
        "tokenizer": {"library": "none"},
        "data": {},
        "peft": {"peft_scheme": "none"},
        "optim": {
            "name": "adamw",
            "lr": optimizer.lr,
            "weight_decay": optimizer.weight_decay,
            "betas": list(optimizer.betas),
            "eps": optimizer.eps,
        },
        "reinforce": {
            "length_params": {"max_length": 1},
            "sampling_params": {"end_strings": []},
            "offload_adam_states": False,
            "forward_micro_batch_size": 1,
        },
    }
    if config.distributed_optimizer:
        values["optim"] |= {
            "name": "mcore_distributed_optim",
            "average_in_collective": False,  # gloo has sums alone
        }
    return OmegaConf.create(values)


def _device() -> torch.device:
    return torch.device(torch.cuda.current_device())
