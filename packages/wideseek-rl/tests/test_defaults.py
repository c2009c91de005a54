"""The defaults of `RLConfig` are the figures of the public run, see the paper and its code."""

from wideseek_rl import AdvantageConfig, GroupRelativeConfig, RewardConfig, RLConfig


def test_a_step_has_128_questions_of_8_rollouts_and_makes_one_update() -> None:
    config = RLConfig()
    assert (config.prompts_per_step, config.group_size, config.epochs) == (128, 8, 1)
    assert (config.backend.updates_per_step, config.backend.max_batch_tokens) == (1, 32_000)
    assert config.checkpoint.every_steps == 30


def test_the_optimizer_is_adam_with_the_published_figures() -> None:
    optimizer = RLConfig().backend.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (1e-6, (0.9, 0.999), 1e-5)
    assert (optimizer.weight_decay, optimizer.grad_clip) == (0.01, 1.0)
    assert optimizer.decay == "constant"


def test_the_loss_is_clipped_where_the_method_clips_it() -> None:
    backend = RLConfig().backend
    assert (backend.loss.clip_low, backend.loss.clip_high, backend.loss.dual_clip) == (
        0.2,
        0.28,
        10,
    )
    assert (backend.loss.log_ratio_limit, backend.max_mean_ratio) == (20, 5)


def test_the_algorithm_is_multi_agent_grpo() -> None:
    algorithm = RLConfig().algorithm
    assert isinstance(algorithm, GroupRelativeConfig)
    assert (algorithm.weighting, algorithm.selection) == ("agent", "outcome")
    assert algorithm.advantage == AdvantageConfig(std="sample", eps=1e-6, min_spread=0)
    assert algorithm.reward == RewardConfig(
        format_bonus=0.1,
        access_bonus=0.05,
        length_penalty=0.1,
        length_free_tokens=3000,
        length_full_tokens=5000,
    )
