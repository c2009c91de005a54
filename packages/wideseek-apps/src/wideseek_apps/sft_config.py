"""Configuration of the supervised stage; no torch is needed to read it."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from pydantic import Field

from wideseek_agents import TeamConfig
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_core import Config, ConfigError, DataError, Record
from wideseek_data.teaching.conversations import read_demonstrations
from wideseek_data.teaching.wikitables import read_listings
from wideseek_rl import SFTConfig
from wideseek_rl.models.lora_config import adapter_folder


class DemosConfig(Config):
    """What demonstrations are made."""

    worlds: int = Field(default=20_000, ge=1)
    """Number of invented worlds."""
    wide_per_world: int = Field(default=3, ge=0)
    chains_per_world: int = Field(default=1, ge=0)
    """Short-answer questions of one or two hops."""
    absent_per_world: int = Field(default=1, ge=0)
    """Questions that no page of the world answers; the demonstrated answer says so."""
    single_share: float = Field(default=0.15, ge=0, le=1)
    """Share of the questions that the single agent answers instead of a team."""
    single_rows: int = Field(default=5, ge=1)
    """Entries of a listing up to which the single agent is demonstrated: it reads all pages itself,
    so that its conversation grows with them."""
    max_members: int = Field(default=18, ge=2)
    """Groups with more members are left out."""
    subagents_kept: int = Field(default=2, ge=1)
    """Look-up subagents of a rollout that are kept: they are all alike."""
    listing_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the worlds that are a listing in one of many layouts: one question each."""
    listings: Path | None = None
    """JSON lines of real listings that may be trained on; null for invented ones alone."""
    real_share: float = Field(default=0.25, ge=0, le=1)
    """Share of the listings that are real ones, where `listings` is given."""
    absent_share: float = Field(default=0.02, ge=0, le=1)
    """Share of the listings of which no page is there, so that the answer has no rows."""
    seed: int = 0
    processes: int = Field(default=2, ge=1)


class ShapeConfig(Config):
    """The shape of the network."""

    hidden_size: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 32
    ffn_size: int = 512


class SftConfig(Config):
    """Makes a small policy from nothing: a vocabulary, demonstrations, supervised training."""

    folder: Path = Path("runs/sft")
    """Where the model is written, replacing the one that is there."""
    parent: Path | None = None
    """A policy to continue from, with its vocabulary and shape; null to begin with nothing."""
    adapter: Path | None = None
    """A LoRA adapter of the parent in PEFT's format, or a checkpoint that holds one: trained
    further with `sft.lora`, merged into the weights without."""
    shape: ShapeConfig = ShapeConfig()
    vocab_size: int = Field(default=4096, ge=300)
    """Number of token ids."""
    vocabulary_worlds: int = Field(default=1000, ge=1)
    """Invented worlds whose demonstrations the vocabulary is learnt from."""
    demonstrations: tuple[Path, ...] = ()
    """Files that `wideseek data demonstrate` wrote; with any, no invented worlds of `demos` are
    shown."""
    demos: DemosConfig = DemosConfig()
    max_tokens: int = Field(default=2048, ge=64)
    """Longer demonstrations are left out. The policy will not have seen conversations that are
    longer than this."""
    sft: SFTConfig = SFTConfig()
    team: TeamConfig = ATLAS_TEAM
    """The agents that are demonstrated, and their prompts."""
    device: str = "auto"
    """`auto` takes the GPU if there is one."""
    seed: int = 0


def check_sft(config: SftConfig) -> None:
    """Raises `ConfigError` for files and parents that are not there or hold something else."""
    parent, folder = config.parent, config.folder
    if parent is None and (config.adapter is not None or config.sft.lora is not None):
        key = "sft.lora" if config.adapter is None else "adapter"
        raise ConfigError(f"{key}: needs a parent, a new model has no weights worth keeping")
    if config.adapter is not None:
        adapter_folder(config.adapter, key="adapter")
    for path in config.demonstrations:
        # The first line tells the format; the files may be large, and are read as a whole later.
        _check_records("demonstrations", path, islice(read_demonstrations(path), 1))
    if config.demos.listings is not None:
        _check_records(
            "demos.listings", config.demos.listings, read_listings(config.demos.listings)
        )
    if parent is not None and not (parent / "tokenizer.json").is_file():
        raise ConfigError(f"parent: no model at {parent}")
    free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not free and not (folder / "model.safetensors").is_file():
        raise ConfigError(f"folder: {folder} holds something else than a model")


def _check_records(key: str, path: Path, records: Iterable[Record]) -> None:
    """Raises `ConfigError` for a file that is not there, is empty, or holds something else."""
    if not path.is_file():
        raise ConfigError(f"{key}: no file at {path}")
    try:
        count = sum(1 for _ in records)
    except DataError as error:
        raise ConfigError(f"{key}: {error}") from None
    if not count:
        raise ConfigError(f"{key}: {path} is empty")
