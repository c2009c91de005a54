import math

import pytest
import torch
from pydantic import ValidationError

from wideseek_core import DataError, TrainError
from wideseek_rl import DemoSet, OptimizerConfig, SFTConfig
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
