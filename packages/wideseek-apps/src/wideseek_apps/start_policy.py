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
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer, TeamConfig
from wideseek_agents.profile import ModelProfile, read_profile, taught_settings, write_profile
from wideseek_apps.demo_files import read_demo_files
from wideseek_apps.demos import Demonstrations, demo_set, demo_texts
from wideseek_apps.policy import LocalPolicy
from wideseek_apps.sft_config import SftConfig, check_sft
from wideseek_apps.vocabulary import END, PAD, save_vocabulary, token_id, train_vocabulary
from wideseek_core import DataError, Language
from wideseek_core.counting import counted
from wideseek_core.files import write_atomically
from wideseek_core.runs import plain
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.hf_format import load_model, save_model
from wideseek_rl.models.lora import merge_adapter, save_adapter
from wideseek_rl.models.lora_config import adapter_folder
from wideseek_rl.models.manifest import check_part
from wideseek_rl.models.policy import chosen_device
from wideseek_rl.trainers.sft import SFTProgress, train_on_demos

logger = logging.getLogger(__name__)

LEARNT = 0.05
"""The share of demonstrations from which a language counts as taught."""


def make_start_policy(config: SftConfig) -> SFTProgress:
    """Writes the policy's folder: weights in bfloat16, `tokenizer.json`, `training.json`.

    A run that was interrupted resumes from the file `unfinished_file` beside it.

    With `sft.lora` also `adapter/` in PEFT's format; those of the weights are merged. Both have a
    `wideseek.json`, so that whoever uses them gets the team that was demonstrated.
    """
    started, team = time.monotonic(), config.team
    device = chosen_device(config.device)
    check_sft(config)
    for part in (config.parent, _adapter(config)):
        if part is not None:
            check_part(part)
    tokenizer = _vocabulary(config, team)
    made = _demonstrations(config, team, tokenizer)
    demos, prepared = made.rows, time.monotonic() - started
    logger.info(
        "%s, %.1fM tokens in %.0f s", counted(len(demos), "row"), demos.tokens / 1e6, prepared
    )
    _warn(made, config.max_tokens)
    model = _network(config, tokenizer).to(device)
    adapter = _adapter(config)
    saved = unfinished_file(config.folder)
    if saved.exists():
        logger.info("resuming the run saved in %s", saved)
    try:
        last = train_on_demos(
            model, demos, config.sft, on_progress=_log, adapter=adapter, saved=saved
        )
    except KeyboardInterrupt:
        if saved.exists():
            logger.warning("the same command resumes from %s", saved)
        raise
    with tempfile.TemporaryDirectory() as work:
        vocabulary = Path(work) / "tokenizer.json"
        save_vocabulary(tokenizer, vocabulary)
        save_model(model, config.folder, vocabulary, torch.bfloat16)
    usual: int = LocalPolicy.model_fields["window"].default
    profile = ModelProfile(
        languages=languages_of(made, *filter(None, (config.parent, adapter))),
        team=taught_settings(team),
        window=config.max_tokens if config.max_tokens > usual else None,
    )
    write_profile(config.folder, profile)
    if config.sft.lora is not None:
        save_adapter(model, config.folder / "adapter", config.parent)
        write_profile(config.folder / "adapter", profile)
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
        "config": {name: value for name, value in plain(config).items() if name != "folder"},
    }
    write_atomically(config.folder / "training.json", json.dumps(report, indent=1) + "\n")
    saved.unlink(missing_ok=True)
    return last


def languages_of(made: Demonstrations, *parents: Path) -> tuple[Language, ...]:
    """Languages that a policy knows which was taught these demonstrations.

    Empty where it continues from a model of which that is not known: a general model knows more
    languages than it is shown.
    """
    total = made.languages.total()
    taught = [tag for tag, count in made.languages.most_common() if count >= LEARNT * total]
    found = [profile for one in parents if (profile := read_profile(one)) is not None]
    known = [tag for profile in found for tag in profile.languages]
    return tuple(dict.fromkeys([*known, *taught])) if known or not parents else ()


def unfinished_file(folder: Path) -> Path:
    """Where a run is saved whose model is to be in `folder`."""
    return folder.absolute().with_name(f"{folder.absolute().name}.unfinished.safetensors")


def _demonstrations(config: SftConfig, team: TeamConfig, tokenizer: Tokenizer) -> Demonstrations:
    if not config.demonstrations:
        return demo_set(config.demos, team, tokenizer, max_tokens=config.max_tokens)
    made = read_demo_files(
        config.demonstrations, ChatTokenizer(tokenizer), max_tokens=config.max_tokens
    )
    if not len(made.rows):
        raise DataError(f"demonstrations: all are longer than max_tokens={config.max_tokens}")
    return made


def _vocabulary(config: SftConfig, team: TeamConfig) -> Tokenizer:
    if config.parent is not None:
        return Tokenizer.from_file(str(config.parent / "tokenizer.json"))
    texts = demo_texts(config.demos.model_copy(update={"worlds": config.vocabulary_worlds}), team)
    return train_vocabulary(texts, config.vocab_size)


def _network(config: SftConfig, tokenizer: Tokenizer) -> Decoder:
    if config.parent is not None:
        model = load_model(config.parent, "cpu", torch.float32)
        if config.sft.lora is None and (adapter := _adapter(config)) is not None:
            merge_adapter(model, adapter)
        return model
    shape = DecoderConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_positions=4096,
        eos_ids=(token_id(tokenizer, END),),
        pad_id=token_id(tokenizer, PAD),
        **config.shape.model_dump(),
    )
    return new_model(shape, config.seed)


def _adapter(config: SftConfig) -> Path | None:
    return None if config.adapter is None else adapter_folder(config.adapter, key="adapter")


def _warn(made: Demonstrations, max_tokens: int) -> None:
    """Says which roles lost demonstrations to the limit of length."""
    for role, lost in sorted(made.left_out.items()):
        total = lost + made.kept[role]
        logger.warning(
            "%d of %s of the role %s left out: longer than max_tokens=%d",
            lost, counted(total, "demonstration"), role, max_tokens,
        )  # fmt: skip


def _log(progress: SFTProgress) -> None:
    logger.info(
        "%.0f s: %s, epoch %.2f, %.0fk tokens/s",
        progress.seconds, loss_text(progress), progress.epoch, progress.tokens_per_s / 1e3,
    )  # fmt: skip


def loss_text(progress: SFTProgress) -> str:
    """The loss for a person."""
    return "no update yet" if progress.loss is None else f"loss {progress.loss:.4f}"
