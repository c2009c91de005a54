import pytest
from pydantic import ValidationError

from wideseek_rl import OptimizerConfig
from wideseek_rl.testing import tiny_model
from wideseek_rl.trainers.optimizer import learning_rate, make_optimizer


def test_the_rate_rises_linearly_and_then_stays() -> None:
    config = OptimizerConfig(lr=1.0, warmup_updates=4)
    rates = [learning_rate(config, update) for update in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_decays_end_at_the_final_fraction() -> None:
    linear = OptimizerConfig(lr=1.0, decay="linear", decay_updates=10, final_fraction=0.1)
    assert learning_rate(linear, 5) == pytest.approx(0.55)
    assert learning_rate(linear, 99) == pytest.approx(0.1)
    cosine = OptimizerConfig(lr=1.0, decay="cosine", decay_updates=10)
    assert learning_rate(cosine, 5) == pytest.approx(0.5)


def test_progress_can_be_told_instead_of_counted() -> None:
    config = OptimizerConfig(lr=1.0, decay="linear", decay_updates=10)
    assert learning_rate(config, 0, progress=0.75) == pytest.approx(0.25)


def test_norms_do_not_decay() -> None:
    model = tiny_model()
    groups = make_optimizer(model, OptimizerConfig(weight_decay=0.5)).param_groups
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [
        (0.5, {2}),
        (0.0, {1}),
    ]


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (1.5, 2.0)])
def test_running_means_that_forget_nothing_are_refused(betas: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="betas"):
        OptimizerConfig(betas=betas)
