"""Extensions as other distributions install them: a module and its metadata on the path."""

import subprocess
import sys
from pathlib import Path

MODULE = """
import asyncio
from contextlib import asynccontextmanager
from typing import Literal
from wideseek_core import Config, Finish, Generated, one_version
from wideseek_core.plugins import Plugin
from wideseek_rl import TurnAlgorithm, TurnsConfig, UpdateMetrics, Weighting


def brevity(scored):
    return 1.0 if len(scored.turns) == 1 else 0.0


def lead_only(inputs):
    return [
        [reward if not number else 0.0 for number, _ in enumerate(scored.episode.trajectories)]
        for scored, reward in zip(inputs.group, inputs.rewards)
    ]


class AllEqualConfig(TurnsConfig):
    kind: Literal["all_equal"] = "all_equal"
    value: float = 2.0


def open_all_equal(config):
    def values(group, rewards):
        return [[config.value] * len(scored.episode.trajectories) for scored in group]

    return TurnAlgorithm(config, values)


class EchoConfig(Config):
    kind: Literal["echo"] = "echo"
    times: int = 2


class Echo:
    def __init__(self, config):
        self.config, self.version = config, 0

    async def generate(self, prompt_ids, *, session, sampling):
        ids = tuple(prompt_ids) * self.config.times
        return Generated(
            ids=ids,
            logprobs=(-0.5,) * len(ids),
            finish=Finish.STOP,
            versions=one_version(self.version, len(ids)),
        )

    async def close_session(self, session):
        pass

    def sync(self, trainer):
        return self

    @asynccontextmanager
    async def updating(self):
        versions = []
        yield versions.append
        self.version = versions[-1]


@asynccontextmanager
async def open_echo(config, model):
    yield Echo(config)


class CounterConfig(Config):
    kind: Literal["counter"] = "counter"
    step: int = 10


class Counter:
    def __init__(self, config, loss):
        self.config, self.loss, self.total = config, loss, 0
        self.weights, self.intact = self, True

    def metadata(self):
        return []

    def tensors(self):
        yield "total", self.total

    async def update(self, samples):
        self.total += self.config.step
        return UpdateMetrics(updates=1, samples=len(samples))

    async def logprobs(self, samples):
        return [sample.logprobs for sample in samples]

    async def save(self, folder):
        (folder / "total").write_text(str(self.total))

    async def load(self, folder):
        self.total = int((folder / "total").read_text())


@asynccontextmanager
async def open_counter(config, loss, model):
    yield Counter(config, loss)


class LinesConfig(Config):
    kind: Literal["lines"] = "lines"
    name: str = "lines.txt"


class Lines:
    def __init__(self, config, run):
        self.path = run.folder / config.name

    async def start(self, step):
        self.path.write_text(f"from {step}")

    async def write(self, report):
        with self.path.open("a") as file:
            file.write(f", {report.step}: {report.metrics['update/samples']:.0f}")

    async def close(self):
        pass


all_equal = Plugin(config=AllEqualConfig, open=open_all_equal)
echo = Plugin(config=EchoConfig, open=open_echo)
counter = Plugin(config=CounterConfig, open=open_counter)
lines = Plugin(config=LinesConfig, open=Lines)
"""

ENTRIES = """
[wideseek.reward_terms]
brevity = extension:brevity
[wideseek.credit_rules]
lead_only = extension:lead_only
[wideseek.algorithms]
all_equal = extension:all_equal
[wideseek.engines]
echo = extension:echo
[wideseek.trainers]
counter = extension:counter
[wideseek.metric_loggers]
lines = extension:lines
"""

USE = """
import asyncio, sys
from pathlib import Path
from wideseek_core import *
from wideseek_rl import *
from wideseek_rl.testing import *

folder = Path(sys.argv[1])
"""


def use(folder: Path, script: str) -> list[str]:
    """What a program prints that has the extension on its path; nothing of torch is there."""
    metadata = folder / "extension-1.0.dist-info"
    metadata.mkdir()
    (folder / "extension.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: extension\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    command = [sys.executable, "-c", USE + "sys.modules['torch'] = None\n" + script, str(folder)]
    environment = {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_a_reward_term(tmp_path: Path) -> None:
    script = """
config = RewardConfig(weights={"brevity": 0.25})
print(open_reward(config)(make_scored(value=0.5)).terms)
print(open_reward(config)(make_scored(make_agent(make_turn(), make_turn()))).terms["brevity"])
"""
    terms = {"score": 0.5, "format": 0.1, "access": 0.0, "length": -0.0, "brevity": 0.25}
    assert use(tmp_path, script) == [str(terms), "0.0"]


def test_a_credit_rule(tmp_path: Path) -> None:
    script = """
config = GroupRelativeConfig(credit="lead_only")
group = [make_scored(make_agent(), make_agent(role="subagent", agent=1))]
print([turns[0].advantage for turns in open_algorithm(config).credit(group, [0.7])])
print(RLConfig(algorithm=config, group_size=1).group_size)
try:
    GroupRelativeConfig(credit="absent")
except ValueError as error:
    print("there are rollout, table, key_steps, lead_only" in str(error))
"""
    assert use(tmp_path, script) == ["[0.7, 0.0]", "1", "True"]


def test_an_algorithm(tmp_path: Path) -> None:
    script = """
config = load_config(RLConfig, ["algorithm.kind=all_equal", "algorithm.value=3"])
batch = build_step_batch([[make_scored(), make_scored()]], open_algorithm(config.algorithm))
print([float(sample.advantages[-1]) for sample in batch.samples])
"""
    assert use(tmp_path, script) == ["[3.0, 3.0]"]


def test_a_rollout_engine(tmp_path: Path) -> None:
    script = """
from wideseek_rl.config import EngineConfig

class Whole(Config):
    engine: EngineConfig = BuiltinEngineConfig()

async def main():
    config = load_config(Whole, ["engine.kind=echo", "engine.times=3"])
    async with open_engine(config.engine, PolicyModel(ModelConfig())) as engine:
        async with engine.sync(None).updating() as commit:
            commit(4)
        made = await engine.generate([7], session="a", sampling=Sampling())
        print(made.ids, made.version)

asyncio.run(main())
"""
    assert use(tmp_path, script) == ["(7, 7, 7) 4"]


def test_a_trainer_and_a_metric_logger(tmp_path: Path) -> None:
    script = """
from wideseek_rl.config import TrainerConfig

class Whole(Config):
    trainer: TrainerConfig = TorchTrainerConfig()
    rl: RLConfig = RLConfig(steps=2, prompts_per_step=1, log_episodes=False)

class Fixed:
    async def collect(self, tasks, step):
        return [[make_scored(value=value) for value in (0.1, 0.9)] for _ in tasks]

async def main():
    config = load_config(
        Whole, ["trainer.kind=counter", "trainer.step=5", "rl.loggers=[{kind: lines}]"]
    )
    task = Task(id="a", question="?", gold=TextGold(answers=("x",)))
    run = folder / "run"
    run.mkdir()
    for steps in (2, 3):
        rl = config.rl.model_copy(update={"steps": steps})
        async with open_trainer(config.trainer, rl.loss, PolicyModel(ModelConfig())) as trainer:
            loop = TrainingLoop(
                rl,
                trainer,
                Fixed(),
                folder=run,
                loggers=open_loggers(rl.loggers, LoggedRun(folder=run), episodes=False),
                trainer_config=config.trainer,
            )
            summary = await loop.fit([task])
            print(trainer.total, summary.updates, (run / "lines.txt").read_text())

asyncio.run(main())
"""
    assert use(tmp_path, script) == ["10 2 from 0, 1: 2, 2: 2", "15 3 from 2, 3: 2"]
