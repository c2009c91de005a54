"""Multi-agent reinforcement learning: groups, rewards, advantages, losses, engines and trainers."""

from wideseek_rl.advantage import AdvantageConfig, advantages
from wideseek_rl.algorithm import (
    Algorithm,
    AlgorithmConfig,
    BestOfGroup,
    BestOfGroupConfig,
    GroupRelative,
    GroupRelativeConfig,
    StepRows,
    make_algorithm,
    step_rows,
)
from wideseek_rl.backend import TrainerBackend, UpdateMetrics
from wideseek_rl.checkpoint import (
    CheckpointStore,
    TrainerState,
    read_checkpoint,
    settle_config,
)
from wideseek_rl.checkpoint_format import load_model, read_config, save_model
from wideseek_rl.config import (
    CheckpointConfig,
    LossConfig,
    OptimizerConfig,
    RLConfig,
    SFTConfig,
    SinksConfig,
    TorchBackendConfig,
)
from wideseek_rl.demos import DemoSet
from wideseek_rl.engine import EngineConfig, ReplicatedEngine, TorchEngine
from wideseek_rl.loss import LossInputs, LossOutputs, policy_loss
from wideseek_rl.model import Qwen3, Qwen3Config, new_model
from wideseek_rl.records import EpisodeRecord
from wideseek_rl.reward import RewardConfig, reward
from wideseek_rl.rollouts import Rollouts, RolloutSource, RunEpisode
from wideseek_rl.rows import Row, TrainedTurn, build_rows
from wideseek_rl.scored import ScoredEpisode
from wideseek_rl.selection import SELECTIONS, Selection
from wideseek_rl.sft import SFTProgress, held_out_loss, train_on_demos
from wideseek_rl.sinks import ProgressSink, Sink, StepReport, open_sinks
from wideseek_rl.sync import EngineSync, NoSync, WeightSync
from wideseek_rl.torch_backend import TorchBackend
from wideseek_rl.trainer import Evaluate, Trainer, TrainSummary

__all__ = [
    "SELECTIONS",
    "AdvantageConfig",
    "Algorithm",
    "AlgorithmConfig",
    "BestOfGroup",
    "BestOfGroupConfig",
    "CheckpointConfig",
    "CheckpointStore",
    "DemoSet",
    "EngineConfig",
    "EngineSync",
    "EpisodeRecord",
    "Evaluate",
    "GroupRelative",
    "GroupRelativeConfig",
    "LossConfig",
    "LossInputs",
    "LossOutputs",
    "NoSync",
    "OptimizerConfig",
    "ProgressSink",
    "Qwen3",
    "Qwen3Config",
    "RLConfig",
    "ReplicatedEngine",
    "RewardConfig",
    "RolloutSource",
    "Rollouts",
    "Row",
    "RunEpisode",
    "SFTConfig",
    "SFTProgress",
    "ScoredEpisode",
    "Selection",
    "Sink",
    "SinksConfig",
    "StepReport",
    "StepRows",
    "TorchBackend",
    "TorchBackendConfig",
    "TorchEngine",
    "TrainSummary",
    "TrainedTurn",
    "Trainer",
    "TrainerBackend",
    "TrainerState",
    "UpdateMetrics",
    "WeightSync",
    "advantages",
    "build_rows",
    "held_out_loss",
    "load_model",
    "make_algorithm",
    "new_model",
    "open_sinks",
    "policy_loss",
    "read_checkpoint",
    "read_config",
    "reward",
    "save_model",
    "settle_config",
    "step_rows",
    "train_on_demos",
]
