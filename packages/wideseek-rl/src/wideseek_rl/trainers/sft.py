"""The supervised stage: next-token loss on demonstrations, as fast as one device goes.

All batches are made before training and live on the device, so that a step copies nothing and
waits for nothing. A batch's loss is the mean over its trained tokens.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wideseek_core import DataError, TrainError
from wideseek_core.counting import counted
from wideseek_core.memory import return_freed_memory
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.lora import dropouts, put_adapter, seeded
from wideseek_rl.trainers.config import SFTConfig
from wideseek_rl.trainers.optimizer import learning_rate, make_optimizer, set_learning_rate
from wideseek_rl.trainers.sft_saves import Done, Saves, fingerprint

Kind = type[np.int16] | type[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTProgress:
    """Progress of a run, reported every `log_every_s` and at the end."""

    updates: int
    epoch: float
    """Passes over the demonstrations so far."""
    loss: float | None
    """Mean over the latest updates that no earlier report covered, in nats per trained token; None
    before the first one."""
    tokens: int
    """Positions run so far, padding included."""
    tokens_per_s: float
    seconds: float
    lr: float | None
    """Learning rate of the last update; None before the first one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SFTBatch:
    """B rows of T positions, N of them trained, on the device in the smallest types."""

    ids: Tensor
    """`[B, T]`, int16 or int32."""
    lengths: Tensor
    """`[B]`."""
    places: Tensor
    """`[N]`, int32: index in the flattened `[B·T]` of the state that predicts a target."""
    targets: Tensor
    """`[N]`, as `ids`."""


def train_on_demos(
    model: Decoder,
    demos: DemoSet,
    config: SFTConfig,
    *,
    on_progress: Callable[[SFTProgress], None] | None = None,
    adapter: Path | None = None,
    saved: Path | None = None,
) -> SFTProgress:
    """Trains a model in place until the epochs or the seconds are over; returns the last report.

    With a file `saved` the run is saved there every `save_every_s`, and resumes from there if it
    was interrupted. The file stays; whoever has written the model deletes it.

    With `lora` settings the weights are frozen and adapters are put beside them: those of the
    folder `adapter`, or new ones. Saving is the caller's: `save_model` writes a folder whole or not
    at all, adapters merged, and `save_adapter` the adapters themselves.

    Raises:
        DataError: there is nothing to train on, or an id is not in the vocabulary.
        TrainError: the loss is not finite.
        CheckpointError: the file `saved` is of another run, or not whole.
    """
    saves = None if saved is None else Saves(saved, fingerprint(model, demos, config, adapter))
    if config.lora is not None:
        put_adapter(model, config.lora, adapter)
    device = next(model.parameters()).device
    batches = make_batches(demos, config, vocabulary=model.config.vocab_size, device=device)
    return _Run(model, batches, config, device, on_progress, saves).go()


def held_out_loss(model: Decoder, demos: DemoSet, config: SFTConfig) -> float:
    """Mean loss per trained token, in nats, without training."""
    device = next(model.parameters()).device
    total, count = torch.zeros((), device=device), 0
    with torch.no_grad():
        for batch in make_batches(demos, config, vocabulary=model.config.vocab_size, device=device):
            loss = _loss(model.hidden, model, batch, _autocasts(config, device))
            total += loss * len(batch.targets)
            count += len(batch.targets)
    return float(total) / count


def make_batches(
    demos: DemoSet, config: SFTConfig, *, vocabulary: int, device: torch.device
) -> list[SFTBatch]:
    """Rows of like length in batches of at most `batch_tokens` positions."""
    if not len(demos) or not demos.mask.any():
        raise DataError("the demonstrations have no token that trains")
    if int(demos.ids.min()) < 0 or int(demos.ids.max()) >= vocabulary:
        raise DataError(f"the demonstrations have ids outside of 0..{vocabulary - 1}")
    small: Kind = np.int16 if vocabulary <= np.iinfo(np.int16).max else np.int32
    batches = (_batch(demos, rows, config, small) for rows in _packed(demos.lengths, config))
    return [
        SFTBatch(
            ids=batch.ids.to(device),
            lengths=batch.lengths.to(device),
            places=batch.places.to(device),
            targets=batch.targets.to(device),
        )
        for batch in batches
        if len(batch.targets)
    ]


def _packed(lengths: NDArray[np.int64], config: SFTConfig) -> Iterator[list[int]]:
    """Indices of rows, by length; rows of equal length in random order."""
    shuffled = np.random.default_rng(config.seed).permutation(len(lengths))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    batch: list[int] = []
    for index in order:
        width = _width(int(lengths[index]), config)
        if batch and width * (len(batch) + 1) > config.batch_tokens:
            yield batch
            batch = []
        batch.append(int(index))
    yield batch


def _width(length: int, config: SFTConfig) -> int:
    """Padded length: a multiple, so that kernels see few shapes."""
    return math.ceil(length / config.length_multiple) * config.length_multiple


def _batch(demos: DemoSet, rows: Sequence[int], config: SFTConfig, kind: Kind) -> SFTBatch:
    lengths = demos.lengths[rows]
    width = _width(int(lengths.max()), config)
    ids = np.zeros((len(rows), width), dtype=kind)
    trained = np.zeros((len(rows), width), dtype=bool)
    for line, index in enumerate(rows):
        row, mask = demos.row(index)
        ids[line, : len(row)] = row
        trained[line, : len(row)] = mask
    trained[:, 0] = False
    at = np.flatnonzero(trained)
    return SFTBatch(
        ids=torch.as_tensor(ids),
        lengths=torch.as_tensor(lengths.astype(np.int32)),
        places=torch.as_tensor((at - 1).astype(np.int32)),
        targets=torch.as_tensor(ids.reshape(-1)[at]),
    )


Hidden = Callable[[Tensor, Tensor], Tensor]


def _loss(hidden: Hidden, model: Decoder, batch: SFTBatch, autocast: bool) -> Tensor:
    with torch.autocast(batch.ids.device.type, dtype=torch.bfloat16, enabled=autocast):
        states = hidden(batch.ids.long(), batch.lengths).flatten(0, 1)  # [B·T, D]
        logits = model.logits(states.index_select(0, batch.places))  # [N, V]
    return F.cross_entropy(logits.float(), batch.targets.long())


def _autocasts(config: SFTConfig, device: torch.device) -> bool:
    return config.autocast == "bfloat16" or (config.autocast == "auto" and device.type == "cuda")


class _Run:
    """The loop, with what it counts."""

    def __init__(
        self,
        model: Decoder,
        batches: Sequence[SFTBatch],
        config: SFTConfig,
        device: torch.device,
        on_progress: Callable[[SFTProgress], None] | None,
        saves: Saves | None,
    ) -> None:
        self._model, self._batches, self._config = model, batches, config
        self._saves = saves
        self._on_progress = on_progress
        self._hidden: Hidden = model.hidden
        if config.compile:
            self._hidden = torch.compile(  # pyright: ignore[reportUnknownMemberType]
                model.hidden, dynamic=True
            )
        self._autocast = _autocasts(config, device)
        self._optimizer = make_optimizer(model, config.optimizer)
        self._loss_sum = torch.zeros((), device=device)
        done = Done() if saves is None else saves.read(model, self._optimizer)
        self._updates = self._reported = done.updates
        self._tokens = self._tokens_before = done.tokens
        self._lr: float | None = None
        self._loss: float | None = None
        self._last = self._last_save = self._began = time.monotonic()
        self._started = self._began - done.seconds

    def go(self) -> SFTProgress:
        """Trains to the end."""
        for layer in dropouts(self._model):
            layer.train()
        # A run that resumes draws other masks for dropout than those of its first updates.
        with seeded(self._config.seed + self._updates, self._loss_sum.device):
            self._train()
        for layer in dropouts(self._model):
            layer.eval()
        last = self._report()
        if self._on_progress is not None:
            self._on_progress(last)
        return last

    def _train(self) -> None:
        every = self._config.log_every_s
        for batch in islice(self._order(), self._updates, None):
            progress = self._progress()
            if progress >= 1:
                break
            self._update(batch, progress)
            if time.monotonic() - self._last >= every and self._on_progress is not None:
                self._on_progress(self._report())
            self._save()

    def _save(self) -> None:
        every, now = self._config.save_every_s, time.monotonic()
        if self._saves is None or every is None or now - self._last_save < every:
            return
        done = Done(updates=self._updates, tokens=self._tokens, seconds=now - self._started)
        self._saves.write(self._model, self._optimizer, done)
        self._last_save = time.monotonic()

    def _order(self) -> Iterator[SFTBatch]:
        """Batches in a new random order every epoch, without end."""
        generator = random.Random(self._config.seed)
        while True:
            yield from generator.sample(self._batches, len(self._batches))

    def _progress(self) -> float:
        """The part of the run that is over: by epochs or by time, whichever is further."""
        config = self._config
        done = 0.0
        if config.epochs is not None:
            done = self._updates / max(round(config.epochs * len(self._batches)), 1)
        if config.max_seconds is not None:
            done = max(done, (time.monotonic() - self._started) / config.max_seconds)
        return done

    def _update(self, batch: SFTBatch, progress: float) -> None:
        optimizer = self._config.optimizer
        rate = self._lr = learning_rate(optimizer, self._updates, progress)
        set_learning_rate(self._optimizer, rate)
        loss = _loss(self._hidden, self._model, batch, self._autocast)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._model.parameters(), optimizer.grad_clip)
        self._optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        self._optimizer.zero_grad(set_to_none=True)
        self._loss_sum += loss.detach()
        self._updates += 1
        self._tokens += batch.ids.numel()

    def _report(self) -> SFTProgress:
        """Waits for the device, so it comes rarely."""
        if self._updates > self._reported:
            self._loss = float(self._loss_sum) / (self._updates - self._reported)
        loss = self._loss
        if loss is not None and not math.isfinite(loss):
            raise TrainError(f"the loss is {loss} after {counted(self._updates, 'update')}")
        return_freed_memory()
        self._last = time.monotonic()
        self._reported = self._updates
        self._loss_sum.zero_()
        seconds = self._last - self._started
        return SFTProgress(
            updates=self._updates,
            epoch=self._updates / len(self._batches),
            loss=loss,
            tokens=self._tokens,
            tokens_per_s=(self._tokens - self._tokens_before) / max(self._last - self._began, 1e-9),
            seconds=seconds,
            lr=self._lr,
        )
