"""Multi-agent reinforcement learning: rewards, advantages, rollout engines, trainers, the loop.

Nothing that is listed here imports torch. What does is imported from its own module, as in
`from wideseek_rl.trainers.torch import TorchTrainer`.
"""

from wideseek_rl.algorithm.advantage import AdvantageConfig, advantages
from wideseek_rl.algorithm.best_of_group import BestOfGroupConfig, best_of_group
from wideseek_rl.algorithm.credit import credit_rule
from wideseek_rl.algorithm.group_relative import GroupRelativeConfig, group_relative
from wideseek_rl.algorithm.open import open_algorithm
from wideseek_rl.algorithm.protocol import (
    AgentCredit,
    Algorithm,
    CreditInputs,
    CreditRule,
    Reward,
    RewardTerm,
)
from wideseek_rl.algorithm.reward import RewardConfig, open_reward
from wideseek_rl.algorithm.selection import SELECTIONS, Selection
from wideseek_rl.algorithm.step_batch import StepBatch, build_step_batch
from wideseek_rl.algorithm.token_weights import Weighting
from wideseek_rl.algorithm.turns import TurnAlgorithm, TurnsConfig
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_rl.batch.samples import TrainedTurn, TrainingSample, build_samples
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.open import open_engine
from wideseek_rl.engines.protocol import RolloutEngine
from wideseek_rl.loop.checkpoint import CheckpointStore, TrainerState, read_checkpoint
from wideseek_rl.loop.loggers.open import open_loggers
from wideseek_rl.loop.loggers.progress import ProgressLogger
from wideseek_rl.loop.loggers.protocol import LoggedRun, MetricLogger, StepReport
from wideseek_rl.loop.loggers.tokens import TokenLogger
from wideseek_rl.loop.training import Evaluate, TrainingLoop, TrainSummary
from wideseek_rl.models.policy import ModelConfig, PolicyModel
from wideseek_rl.models.start_policy import start_policy
from wideseek_rl.rollout.runner import Rollouts, RolloutSource, RunEpisode
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.sync.protocol import Commit, NoSync, WeightSync
from wideseek_rl.trainers.config import (
    LossConfig,
    OptimizerConfig,
    SFTConfig,
    TorchTrainerConfig,
)
from wideseek_rl.trainers.objectives.config import CorrectionConfig
from wideseek_rl.trainers.open import open_trainer
from wideseek_rl.trainers.protocol import Trainer, UpdateMetrics

# isort: split
# Last: it imports the extensions that are installed, and they import the names above.
from wideseek_rl.config import (
    AlgorithmConfig,
    CheckpointConfig,
    EngineConfig,
    LoggerConfig,
    RLConfig,
    ScheduleConfig,
    StopConfig,
    TrainerConfig,
)

__all__ = [
    "SELECTIONS",
    "AdvantageConfig",
    "AgentCredit",
    "Algorithm",
    "AlgorithmConfig",
    "BestOfGroupConfig",
    "BuiltinEngineConfig",
    "CheckpointConfig",
    "CheckpointStore",
    "Commit",
    "CorrectionConfig",
    "CreditInputs",
    "CreditRule",
    "DemoSet",
    "EngineConfig",
    "Evaluate",
    "GroupRelativeConfig",
    "LoggedRun",
    "LoggerConfig",
    "LossConfig",
    "MetricLogger",
    "ModelConfig",
    "NoSync",
    "OptimizerConfig",
    "PolicyModel",
    "ProgressLogger",
    "RLConfig",
    "Reward",
    "RewardConfig",
    "RewardTerm",
    "RolloutEngine",
    "RolloutSource",
    "Rollouts",
    "RunEpisode",
    "SFTConfig",
    "ScheduleConfig",
    "ScoredEpisode",
    "Selection",
    "StepBatch",
    "StepReport",
    "StopConfig",
    "TokenLogger",
    "TorchTrainerConfig",
    "TrainSummary",
    "TrainedTurn",
    "Trainer",
    "TrainerConfig",
    "TrainerState",
    "TrainingLoop",
    "TrainingSample",
    "TurnAlgorithm",
    "TurnsConfig",
    "UpdateMetrics",
    "WeightSync",
    "Weighting",
    "advantages",
    "best_of_group",
    "build_samples",
    "build_step_batch",
    "credit_rule",
    "group_relative",
    "open_algorithm",
    "open_engine",
    "open_loggers",
    "open_reward",
    "open_trainer",
    "read_checkpoint",
    "start_policy",
]
