"""An update of several passes a rank: gradients are reduced in the last one, exactly once."""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch.utils._python_dispatch import TorchDispatchMode

from wideseek_core.ports import free_port
from wideseek_rl import LossConfig, OptimizerConfig, TorchTrainerConfig
from wideseek_rl.batch.samples import TrainingSample
from wideseek_rl.models.decoder import Decoder
from wideseek_rl.models.lora_config import LoraConfig
from wideseek_rl.testing import make_sample, tiny_model
from wideseek_rl.trainers.ranks import DistributedRanks
from wideseek_rl.trainers.torch import TorchTrainer

POISON = 16
"""Sequences that hold this token have no log-probabilities in an `Odd` model."""
FATAL = 2
"""Nor does a pass with this one come to an end."""
LENGTH = 30

Samples = list[TrainingSample]


class Calls(TorchDispatchMode):
    """Counts the operators that are called, those of torch.distributed among them."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(  # pyright: ignore[reportImplicitOverride]
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.counts[func.name()] += 1
        return func(*args, **(kwargs or {}))


class Odd(Decoder):
    """Gives no numbers, or fails, where certain tokens are."""

    def hidden(self, ids: torch.Tensor, *arguments: object) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        states = super().hidden(ids, *arguments)  # pyright: ignore[reportArgumentType]
        if (ids == FATAL).any():
            raise RuntimeError("out of memory")
        return torch.where((ids == POISON)[..., None], torch.nan, states)


def model() -> Decoder:
    made = Odd(tiny_model().config)
    made.load_state_dict(tiny_model().state_dict())
    return made


def samples(count: int) -> Samples:
    """Of falling length, so that the last ones are in the last pass."""
    rng = random.Random(0)
    found: Samples = []
    for number in range(count):
        ids = [rng.randrange(3, 16) for _ in range(LENGTH - number)]
        found.append(make_sample(ids, advantage=rng.uniform(-1, 1), group=number))
    return found


def marked(of: Samples, *numbers: int, token: int = POISON) -> Samples:
    """With a token that an `Odd` model makes something of in some samples."""
    found = list(of)
    for number in numbers:
        ids = np.array(of[number].ids)
        ids[-2] = token
        found[number] = replace(of[number], ids=ids)
    return found


def runaway(of: Samples, number: int) -> Samples:
    """With a sample whose mean ratio is far above any limit."""
    found = list(of)
    found[number] = replace(of[number], logprobs=np.full(len(of[number]), -9.0, dtype=np.float32))
    return found


def trees() -> Samples:
    """With a common beginning, all but a few of them."""
    found = samples(8)
    for sample in found[:6]:
        sample.ids[:15] = found[0].ids[:15]
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """Samples that are trained twice, with settings. A pass takes two of a rank's, or four."""

    samples: Samples
    passes: int
    """Of a rank in an update."""
    settings: dict[str, Any] = field(default_factory=dict)
    loss: LossConfig = field(default_factory=LossConfig)


PACKED = {"attention": "packed", "share_prefixes": False, "max_batch_tokens": 4 * LENGTH}
TREES = {"attention": "packed", "optimizer": OptimizerConfig(lr=1e-3, grad_clip=1e-3)}
TWO = {"updates_per_step": 2, "recompute_logprobs": True, "offload": True}
CASES = {
    "uneven": Case(samples(10), 3),
    "one pass": Case(samples(4), 1),
    "two updates of adapters": Case(samples(16), 2, {**TWO, "lora": LoraConfig(rank=4)}),
    "trees beside a reference": Case(trees(), 2, TREES, LossConfig(kl=0.05)),
    "broken first": Case(marked(samples(8), 0), 2),
    "broken last": Case(marked(samples(8), 7), 2),
    "broken beside a silent pass": Case(marked(samples(10), 9), 3),
    "all broken beside a silent pass": Case(marked(samples(10), 8, 9), 3),
    "all broken in the last pass": Case(marked(samples(8), 4, 5, 6, 7), 2),
    "broken in a packed sequence": Case(marked(samples(16), 5), 2, PACKED),
    "left out": Case(
        runaway(samples(10), 9), 3, {"ratio_stop": "micro_batch", "max_mean_ratio": 3.0}
    ),
}
HALF = {
    "bfloat16": Case(samples(10), 3, {"autocast": "bfloat16"}),
    "float16": Case(samples(10), 3, {"autocast": "float16", "loss_scale": 1024.0}),
    "overflow": Case(samples(10), 3, {"autocast": "float16", "loss_scale": 1e9}),
}
EACH: dict[str, object] = {"reduce_gradients": "each_pass"}
ONCE: dict[str, object] = {"reduce_gradients": "once"}
SETTINGS: dict[str, dict[str, object]] = {
    "each": EACH,
    "once": ONCE,
    "each kept": {**EACH, "keep_gathered": True},
    "kept": {**ONCE, "keep_gathered": True},
}
RUNS = [
    *(("uneven", setting) for setting in SETTINGS),
    *((name, "once") for name in CASES if name not in ("uneven", "trees beside a reference")),
    ("one pass", "each"),
    ("two updates of adapters", "kept"),
    ("trees beside a reference", "kept"),
    ("all broken beside a silent pass", "kept"),
    ("broken in a packed sequence", "each"),
    *((name, setting) for name in HALF for setting in ("each", "once")),
]
GROUPS = 3
"""Groups of weights that are gathered and reduced together: two layers, and what is around them."""


def trainer_of(case: Case, ranks: DistributedRanks | None, **changes: object) -> TorchTrainer:
    common: dict[str, object] = {
        "optimizer": OptimizerConfig(lr=1e-3, grad_clip=1e9),
        "attention": "rows",
        "max_batch_tokens": 2 * LENGTH,
    }
    config = TorchTrainerConfig.model_validate({**common, **case.settings, **changes})
    return TorchTrainer(model(), config, case.loss, ranks=ranks)


def outcome(
    case: Case, folder: Path, ranks: DistributedRanks | None, **changes: object
) -> dict[str, Any]:
    """What the first step did and sent, the gradients it found, and the weights after another."""
    trainer = trainer_of(case, ranks, **changes)
    with Calls() as calls:
        metrics = trainer.update(case.samples)
    trainer.save(folder)
    trainer.logprobs(case.samples[:2])
    trainer.load(folder)
    trainer.update(case.samples)
    saved = load_file(folder / "optimizer.safetensors")
    return {
        "metrics": asdict(metrics),
        "reduced": calls.counts["c10d::_reduce_scatter_base_"],
        "gathered": calls.counts["c10d::_allgather_base_"],
        "means": {name: mean for name, mean in saved.items() if name.startswith("exp_avg.")},
        "weights": {name: tensor.clone() for name, tensor in trainer.weights.tensors()},
    }


ERRORS = ("a pass", "old log-probabilities", "log-probabilities")
"""What an error ends."""


def after_an_error(
    folder: Path, ranks: DistributedRanks, autocast: str, ended: str
) -> list[dict[str, torch.Tensor]]:
    """Weights after an error, a return to a checkpoint, and an update; those of an update alone.

    The error is in the last pass of an update, or in log-probabilities.
    """
    old = {"updates_per_step": 2, "recompute_logprobs": True} if ended == ERRORS[1] else {}
    case = Case(samples(8), 2, {"autocast": autocast, **old})
    trainer, other = (trainer_of(case, ranks, **SETTINGS["kept"]) for _ in range(2))
    fatal = marked(samples(8), *range(0 if old else 4, 8), token=FATAL)
    failing: Callable[[Samples], object] = (
        trainer.logprobs if ended == ERRORS[2] else trainer.update
    )
    trainer.save(folder)
    trainer.update(samples(8))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            failing(fatal)
    trainer.load(folder)
    for each in (trainer, other):
        each.update(samples(8))
    return [dict(each.weights.tensors()) for each in (trainer, other)]


def rank_main(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed: Any = torch.distributed
    distributed.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(minutes=5))
    ranks = DistributedRanks()
    found: dict[str, Any] = {
        f"{ended} {autocast}": after_an_error(folder, ranks, autocast, ended)
        for autocast in ("off", "bfloat16")
        for ended in ERRORS
    }
    for name, setting in RUNS:
        case, own = {**CASES, **HALF}[name], folder / f"{name} {setting}"
        own.mkdir(exist_ok=True)
        found[f"{name} {setting}"] = outcome(case, own, ranks, **SETTINGS[setting])
    torch.save(found, folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two ranks found in all runs."""
    folder, port = tmp_path_factory.mktemp("ranks"), str(free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), port, str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [rank.communicate()[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


def assert_close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Each tensor differs by no more than the rounding of sums in another order."""
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        apart = (found[name] - tensor).square().sum().sqrt()
        assert apart <= 1e-5 * tensor.square().sum().sqrt(), name


def assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Each tensor is the same to the last bit."""
    assert list(found) == list(wanted)
    assert [name for name in found if not torch.equal(found[name], wanted[name])] == []


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_find_the_gradients_of_one(name: str, found: Found, tmp_path: Path) -> None:
    one = outcome(CASES[name], tmp_path, None)
    for setting in (setting for run, setting in RUNS if run == name):
        for two in (ranks[f"{name} {setting}"] for ranks in found):
            assert_close(two["means"], one["means"])
            assert_close(two["weights"], one["weights"])
            for metric in ("loss", "grad_norm", "ratio", "tokens_trained", "updates"):
                wanted = pytest.approx(one["metrics"][metric], rel=1e-5)
                assert two["metrics"][metric] == wanted, (setting, metric)
            masked = two["metrics"]["masked_samples"]
            assert masked == one["metrics"]["masked_samples"]
            assert bool(masked) == ("broken" in name)


@pytest.mark.parametrize(("name", "setting"), RUNS)
def test_gradients_are_reduced_once_an_update_or_in_each_pass(
    name: str, setting: str, found: Found
) -> None:
    case = {**CASES, **HALF}[name]
    for ranks in found:
        run = ranks[f"{name} {setting}"]
        updates = case.settings.get("updates_per_step", 1)
        assert run["metrics"]["micro_batches"] == 2 * updates * case.passes
        trained = GROUPS - 1 if "lora" in case.settings else GROUPS  # nothing around the layers
        reduces = case.passes if setting.startswith("each") else 1
        assert run["reduced"] == updates * trained * reduces


def test_weights_are_gathered_twice_in_each_pass_or_once_an_update(found: Found) -> None:
    for ranks in found:
        gathered = {setting: ranks[f"uneven {setting}"]["gathered"] for setting in SETTINGS}
        # The last layer and what is around the layers are not gathered again for a backward half.
        assert gathered["each"] == gathered["once"] == 3 * (GROUPS + 1)
        assert gathered["each kept"] == gathered["kept"] == GROUPS
        assert ranks["two updates of adapters kept"]["gathered"] == 2 * GROUPS


@pytest.mark.parametrize("name", HALF)
def test_gradients_in_half_precision_are_added_up_in_float32(name: str, found: Found) -> None:
    for ranks in found:
        each, once = ranks[f"{name} each"], ranks[f"{name} once"]
        # Sums of so few numbers of so few bits are exact in float32, in any order.
        assert_equal(once["means"], each["means"])
        assert_equal(once["weights"], each["weights"])
        assert once["metrics"]["skipped"] == each["metrics"]["skipped"] == (name == "overflow")


def test_what_is_kept_changes_no_bit(found: Found) -> None:
    for ranks in found:
        assert_equal(ranks["uneven kept"]["weights"], ranks["uneven once"]["weights"])
        assert_equal(ranks["uneven each kept"]["weights"], ranks["uneven each"]["weights"])
        assert_equal(ranks["one pass once"]["weights"], ranks["one pass each"]["weights"])


@pytest.mark.parametrize("ended", ERRORS)
@pytest.mark.parametrize("autocast", ["off", "bfloat16"])
def test_what_an_error_ended_leaves_nothing(autocast: str, ended: str, found: Found) -> None:
    for ranks in found:
        after, wanted = ranks[f"{ended} {autocast}"]
        assert_equal(after, wanted)


@pytest.mark.parametrize("settings", [ONCE, {"keep_gathered": True}])
def test_one_rank_says_that_it_gathers_nothing(
    settings: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    trainer_of(CASES["one pass"], None, **settings)
    (line,) = caplog.messages
    assert line.startswith(next(iter(settings)))
    assert line.endswith("no effect on one rank, which gathers nothing")


if __name__ == "__main__":
    rank_main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
