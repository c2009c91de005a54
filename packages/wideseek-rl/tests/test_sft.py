import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from wideseek_core import CheckpointError, DataError, TrainError
from wideseek_rl import DemoSet, OptimizerConfig, SFTConfig
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.testing import known, tiny_model
from wideseek_rl.trainers.sft import SFTProgress, held_out_loss, make_batches, train_on_demos

CPU = torch.device("cpu")


def counting(rows: int = 40) -> DemoSet:
    """Rows that count upwards from anywhere; the second half trains."""
    return DemoSet.from_rows(
        ([(start + n) % 16 + 1 for n in range(8)], [n >= 4 for n in range(8)])
        for start in range(rows)
    )


def config(**changes: object) -> SFTConfig:
    optimizer = OptimizerConfig(lr=2e-2, eps=1e-8, betas=(0.9, 0.95), decay="cosine")
    return SFTConfig.model_validate(
        {"optimizer": optimizer, "epochs": 30, "batch_tokens": 80, **changes}
    )


def test_a_model_learns_to_count() -> None:
    model = tiny_model()
    last = train_on_demos(model, counting(), config())
    assert last.updates == 30 * 4
    assert last.epoch == 30
    assert held_out_loss(model, counting(), config()) < 0.1


def test_the_loss_before_training_is_that_of_chance() -> None:
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert held_out_loss(model, counting(), config()) == pytest.approx(math.log(17), rel=1e-6)


def test_only_masked_tokens_are_targets_and_each_is_predicted_from_before() -> None:
    demos = DemoSet.from_rows([([1, 2, 3, 4], [0, 0, 1, 1]), ([5, 6], [0, 1])])
    (batch,) = make_batches(demos, config(length_multiple=4), vocabulary=17, device=CPU)
    assert batch.ids.shape == (2, 4)
    flat = batch.ids.flatten()
    pairs = [
        (int(flat[int(place)]), int(target))
        for place, target in zip(batch.places, batch.targets, strict=True)
    ]
    assert pairs == [(5, 6), (2, 3), (3, 4)]


def test_batches_hold_rows_of_like_length_within_the_budget() -> None:
    demos = DemoSet.from_rows(([1] * n, [1] * n) for n in range(2, 40))
    batches = make_batches(demos, config(batch_tokens=100), vocabulary=17, device=CPU)
    assert sum(len(batch.lengths) for batch in batches) == 38
    assert all(batch.ids.numel() <= 100 for batch in batches)
    padding = sum(batch.ids.numel() for batch in batches) / demos.tokens
    assert padding < 1.3


def test_time_can_end_training() -> None:
    reports: list[SFTProgress] = []
    last = train_on_demos(
        tiny_model(), counting(), config(epochs=None, max_seconds=0.3), on_progress=reports.append
    )
    assert last.updates > 0
    assert reports[-1] == last


def test_a_run_that_ends_before_its_first_update_has_no_loss() -> None:
    reports: list[SFTProgress] = []
    last = train_on_demos(
        tiny_model(), counting(), config(epochs=None, max_seconds=1e-9), on_progress=reports.append
    )
    assert (last.updates, last.tokens) == (0, 0)
    assert (last.loss, last.lr) == (None, None)
    assert reports == [last]
    trained = train_on_demos(tiny_model(), counting(), config(epochs=1))
    assert known(trained.loss) > 0
    assert known(trained.lr) > 0


def test_equal_seeds_give_equal_weights() -> None:
    models = [tiny_model(), tiny_model()]
    for model in models:
        train_on_demos(model, counting(), config(epochs=1))
    for first, second in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("demos", "message"),
    [
        (DemoSet.from_rows([]), "no token that trains"),
        (DemoSet.from_rows([([1, 2], [0, 0])]), "no token that trains"),
        (DemoSet.from_rows([([1, 17], [0, 1])]), "outside of 0..16"),
    ],
)
def test_useless_demonstrations_are_refused(demos: DemoSet, message: str) -> None:
    with pytest.raises(DataError, match=message):
        train_on_demos(tiny_model(), demos, config())


def test_a_loss_that_is_not_finite_ends_training() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.output_weight.fill_(math.nan)
    with pytest.raises(TrainError, match="the loss is nan"):
        train_on_demos(model, counting(), config(epochs=1))


def test_a_run_needs_an_end() -> None:
    with pytest.raises(ValidationError, match="one of epochs and max_seconds"):
        SFTConfig(epochs=None)


class Interrupted(Exception):
    pass


def interrupted(model: Decoder, settings: SFTConfig, saved: Path, updates: int) -> None:
    """Trains until some update, behind which the process ends."""

    def end(progress: SFTProgress) -> None:
        if progress.updates == updates:
            raise Interrupted

    always = settings.model_copy(update={"log_every_s": 1e-9, "save_every_s": 1e-9})
    with pytest.raises(Interrupted):
        train_on_demos(model, counting(), always, on_progress=end, saved=saved)


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_an_interrupted_run_ends_as_if_it_had_not_been(lora: object, tmp_path: Path) -> None:
    settings, saved = config(epochs=5, lora=lora), tmp_path / "a" / "run.safetensors"
    whole = tiny_model()
    reports: list[SFTProgress] = []
    train_on_demos(whole, counting(), settings, on_progress=reports.append)
    for updates in (3, 11):
        # Its report comes before its save.
        interrupted(tiny_model(), settings, saved, updates)
    again = tiny_model()
    last = train_on_demos(again, counting(), settings, saved=saved)
    assert (last.updates, last.tokens) == (reports[-1].updates, reports[-1].tokens) == (20, 1600)
    assert last.lr == reports[-1].lr
    for name, expected in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], expected, rtol=0, atol=0)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_resumed_run_may_end_later(tmp_path: Path) -> None:
    saved = tmp_path / "run.safetensors"
    interrupted(tiny_model(), config(epochs=2), saved, 6)
    last = train_on_demos(tiny_model(), counting(), config(epochs=3), saved=saved)
    assert last.updates == 12
    timed = config(epochs=None, max_seconds=1e-9)
    assert train_on_demos(tiny_model(), counting(), timed, saved=saved).updates == 5


@pytest.mark.parametrize(
    ("other", "rows"),
    [
        ({"batch_tokens": 160}, 40),
        ({"seed": 1}, 40),
        ({"optimizer": OptimizerConfig()}, 40),
        ({}, 41),
    ],
)
def test_what_was_saved_of_another_run_is_refused(
    other: dict[str, object], rows: int, tmp_path: Path
) -> None:
    saved = tmp_path / "run.safetensors"
    interrupted(tiny_model(), config(), saved, 3)
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match="interrupted run with other settings"):
        train_on_demos(tiny_model(), counting(rows), config(**other), saved=saved)
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(CheckpointError, match=r"delete .*run\.safetensors to begin anew"):
        train_on_demos(model, counting(), config(), saved=saved)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      ", None])
def test_a_save_that_is_not_whole_is_refused(content: bytes | None, tmp_path: Path) -> None:
    saved = tmp_path / "run.safetensors"
    interrupted(tiny_model(), config(), saved, 3)
    saved.write_bytes(saved.read_bytes()[:-10] if content is None else content)
    with pytest.raises(CheckpointError, match="not a whole file"):
        train_on_demos(tiny_model(), counting(), config(), saved=saved)
