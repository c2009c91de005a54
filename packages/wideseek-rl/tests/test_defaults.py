"""The defaults of `RLConfig` are the figures of the public run, see the paper and its code."""

from wideseek_rl import AdvantageConfig, GroupRelativeConfig, RLConfig, TorchTrainerConfig


def test_a_step_has_128_questions_of_8_rollouts_and_makes_one_update() -> None:
    config = RLConfig()
    assert (config.prompts_per_step, config.group_size, config.epochs) == (128, 8, 1)
    assert (TorchTrainerConfig().updates_per_step, TorchTrainerConfig().max_batch_tokens) == (
        1,
        32_000,
    )
    assert config.checkpoint.every_steps == 30


def test_the_optimizer_is_adam_with_the_published_figures() -> None:
    optimizer = TorchTrainerConfig().optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (1e-6, (0.9, 0.999), 1e-5)
    assert (optimizer.weight_decay, optimizer.grad_clip) == (0.01, 1.0)
    assert optimizer.decay == "constant"


def test_the_loss_is_clipped_where_the_method_clips_it() -> None:
    loss = RLConfig().loss
    assert (loss.clip_low, loss.clip_high, loss.dual_clip) == (0.2, 0.28, 10)
    assert (loss.log_ratio_limit, TorchTrainerConfig().max_mean_ratio) == (20, 5)


def test_the_algorithm_is_multi_agent_grpo() -> None:
    algorithm = RLConfig().algorithm
    assert isinstance(algorithm, GroupRelativeConfig)
    assert (algorithm.weighting, algorithm.selection) == ("agent", "outcome")
    assert algorithm.constant_tokens == 1000
    assert algorithm.advantage == AdvantageConfig(std="sample", eps=1e-6, min_spread=0)
    reward = algorithm.reward
    assert reward.weights == {"score": 1.0, "format": 0.1, "access": 0.05, "length": -0.1}
    assert (reward.length_free_tokens, reward.length_full_tokens) == (3000, 5000)
