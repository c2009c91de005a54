"""Makes a small policy from nothing: vocabulary and supervised training on demonstrations.

The demonstrations are on invented worlds only, so the policy has to learn to copy what it reads;
facts of the atlas are left to RL and to evaluation.
"""

import json
import logging
import tempfile
import time
from pathlib import Path

import torch
from pydantic import Field
from tokenizers import Tokenizer

from wideseek_agents import TeamConfig
from wideseek_apps.demos import Demonstrations, DemosConfig, demo_set, demo_texts
from wideseek_apps.policy import chosen_device
from wideseek_apps.vocabulary import END, PAD, save_vocabulary, token_id, train_vocabulary
from wideseek_core import Config, ConfigError
from wideseek_core.files import write_atomically
from wideseek_rl import Decoder, DecoderConfig, load_model, new_model, save_model
from wideseek_rl.config import SFTConfig
from wideseek_rl.trainers.sft import SFTProgress, train_on_demos

logger = logging.getLogger(__name__)


class ShapeConfig(Config):
    """The shape of the network."""

    hidden_size: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 32
    ffn_size: int = 512


class StartConfig(Config):
    """How a start policy is made."""

    folder: Path
    """Where it is written, replacing what is there."""
    parent: Path | None = None
    """A start policy to go on from, with its vocabulary and shape; null to begin with nothing."""
    shape: ShapeConfig = ShapeConfig()
    vocabulary: int = Field(default=4096, ge=300)
    """Token ids."""
    vocabulary_worlds: int = Field(default=1000, ge=1)
    """Invented worlds whose demonstrations the vocabulary is learnt from."""
    demos: DemosConfig = DemosConfig()
    longest: int = Field(default=2048, ge=64)
    """Tokens; longer rows are left out. A conversation that goes on past this is one such as the
    policy has never seen, and seldom ends well."""
    sft: SFTConfig = SFTConfig()
    device: str = "auto"
    """`auto` takes the GPU if there is one."""
    seed: int = 0


def make_start_policy(config: StartConfig, team: TeamConfig) -> SFTProgress:
    """Writes the policy's folder: weights in bfloat16, `tokenizer.json`, `training.json`."""
    started = time.monotonic()
    device = chosen_device(config.device)
    _check_folder(config.folder)
    if config.parent is not None and not (config.parent / "tokenizer.json").is_file():
        raise ConfigError(f"start.parent: no model at {config.parent}")
    tokenizer = _vocabulary(config, team)
    made = demo_set(config.demos, team, tokenizer, longest=config.longest)
    demos, prepared = made.rows, time.monotonic() - started
    logger.info("%d rows, %.1fM tokens in %.0f s", len(demos), demos.tokens / 1e6, prepared)
    _warn(made, config.longest)
    model = _network(config, tokenizer).to(device)
    last = train_on_demos(model, demos, config.sft, on_progress=_log)
    with tempfile.TemporaryDirectory() as work:
        vocabulary = Path(work) / "tokenizer.json"
        save_vocabulary(tokenizer, vocabulary)
        save_model(model, config.folder, vocabulary, torch.bfloat16)
    report = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "demonstrations": {
            "rows": len(demos),
            "tokens": demos.tokens,
            "seconds": prepared,
            "kept": made.kept,
            "left_out": made.left_out,
        },
        "training": {
            "updates": last.updates,
            "epochs": last.epoch,
            "tokens": last.tokens,
            "seconds": last.seconds,
            "loss": last.loss,
        },
        "config": config.model_dump(mode="json", exclude={"folder"}),
    }
    write_atomically(config.folder / "training.json", json.dumps(report, indent=1) + "\n")
    return last


def _vocabulary(config: StartConfig, team: TeamConfig) -> Tokenizer:
    if config.parent is not None:
        return Tokenizer.from_file(str(config.parent / "tokenizer.json"))
    texts = demo_texts(config.demos.model_copy(update={"worlds": config.vocabulary_worlds}), team)
    return train_vocabulary(texts, config.vocabulary)


def _network(config: StartConfig, tokenizer: Tokenizer) -> Decoder:
    if config.parent is not None:
        return load_model(config.parent, "cpu", torch.float32)
    shape = DecoderConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_positions=4096,
        eos_ids=(token_id(tokenizer, END),),
        pad_id=token_id(tokenizer, PAD),
        **config.shape.model_dump(),
    )
    return new_model(shape, config.seed)


def _check_folder(folder: Path) -> None:
    """Refuses to replace what is no model: the whole folder would go."""
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (folder / "model.safetensors").is_file():
        raise ConfigError(f"start.folder: {folder} holds something else than a model")


def _warn(made: Demonstrations, longest: int) -> None:
    """Says which roles lost demonstrations to the limit of length."""
    for role, lost in sorted(made.left_out.items()):
        total = lost + made.kept[role]
        logger.warning(
            "%d of %d demonstrations of the role %s left out: longer than start.longest=%d",
            lost, total, role, longest,
        )  # fmt: skip


def _log(progress: SFTProgress) -> None:
    logger.info(
        "%.0f s: loss %.4f, epoch %.2f, %.0fk tokens/s",
        progress.seconds, progress.loss, progress.epoch, progress.tokens_per_s / 1e3,
    )  # fmt: skip
