"""Multi-agent reinforcement learning: groups, rewards, advantages, losses, engines and trainers."""

from wideseek_rl.algorithm.advantage import AdvantageConfig, advantages
from wideseek_rl.algorithm.algorithms import (
    Algorithm,
    AlgorithmConfig,
    BestOfGroup,
    BestOfGroupConfig,
    GroupRelative,
    GroupRelativeConfig,
    StepBatch,
    build_step_batch,
    make_algorithm,
)
from wideseek_rl.algorithm.reward import RewardConfig, reward
from wideseek_rl.algorithm.selection import SELECTIONS, Selection
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_rl.batch.samples import TrainedTurn, TrainingSample, build_samples
from wideseek_rl.config import (
    CheckpointConfig,
    LoggersConfig,
    LossConfig,
    OptimizerConfig,
    RLConfig,
    SFTConfig,
    TorchTrainerConfig,
)
from wideseek_rl.engines.builtin import EngineConfig, ReplicatedEngine, TorchEngine
from wideseek_rl.loop.checkpoint import (
    CheckpointStore,
    TrainerState,
    read_checkpoint,
)
from wideseek_rl.loop.loggers import MetricLogger, ProgressLogger, StepReport, open_loggers
from wideseek_rl.loop.training import Evaluate, TrainingLoop, TrainSummary
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import Decoder, new_model
from wideseek_rl.models.hf_format import load_model, read_config, save_model
from wideseek_rl.rollout.runner import Rollouts, RolloutSource, RunEpisode
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.sync.in_process import EngineSync
from wideseek_rl.sync.protocol import NoSync, WeightSync
from wideseek_rl.trainers.loss import LossInputs, LossOutputs, policy_loss
from wideseek_rl.trainers.protocol import Trainer, UpdateMetrics
from wideseek_rl.trainers.sft import SFTProgress, held_out_loss, train_on_demos
from wideseek_rl.trainers.torch import TorchTrainer

__all__ = [
    "SELECTIONS",
    "AdvantageConfig",
    "Algorithm",
    "AlgorithmConfig",
    "BestOfGroup",
    "BestOfGroupConfig",
    "CheckpointConfig",
    "CheckpointStore",
    "Decoder",
    "DecoderConfig",
    "DemoSet",
    "EngineConfig",
    "EngineSync",
    "Evaluate",
    "GroupRelative",
    "GroupRelativeConfig",
    "LoggersConfig",
    "LossConfig",
    "LossInputs",
    "LossOutputs",
    "MetricLogger",
    "NoSync",
    "OptimizerConfig",
    "ProgressLogger",
    "RLConfig",
    "ReplicatedEngine",
    "RewardConfig",
    "RolloutSource",
    "Rollouts",
    "RunEpisode",
    "SFTConfig",
    "SFTProgress",
    "ScoredEpisode",
    "Selection",
    "StepBatch",
    "StepReport",
    "TorchEngine",
    "TorchTrainer",
    "TorchTrainerConfig",
    "TrainSummary",
    "TrainedTurn",
    "Trainer",
    "TrainerState",
    "TrainingLoop",
    "TrainingSample",
    "UpdateMetrics",
    "WeightSync",
    "advantages",
    "build_samples",
    "build_step_batch",
    "held_out_loss",
    "load_model",
    "make_algorithm",
    "new_model",
    "open_loggers",
    "policy_loss",
    "read_checkpoint",
    "read_config",
    "reward",
    "save_model",
    "train_on_demos",
]
