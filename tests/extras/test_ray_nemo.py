"""The main job over a Ray cluster, trained by NeMo-Aligner on two ranks that share every layer."""

import json
import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from wideseek_rl import start_policy

from .ray_nodes import Nodes, Run, opened_nodes

PYTHON = os.environ.get("NEMO_PYTHON", "")
"""Interpreter of an environment with the extra nemo-aligner; that of Ray is another one."""
RANK = "wideseek_rl.trainers.megatron.ranks"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not PYTHON, reason="NEMO_PYTHON names no interpreter"),
]


@pytest.fixture
def nodes(tmp_path: Path) -> Generator[Nodes]:
    with opened_nodes(str(tmp_path)) as nodes:
        yield nodes


def with_even_heads(folder: Path) -> Path:
    """The start policy with every key-value head twice: the same model, which two ranks divide."""
    shutil.copytree(start_policy(), folder)
    shape = json.loads((folder / "config.json").read_text())
    heads, queries, size = (
        shape[name] for name in ("num_key_value_heads", "num_attention_heads", "head_dim")
    )
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            separate = weight.view(heads, size, -1)
            weights[name] = separate.repeat_interleave(queries // heads, 0).flatten(0, 1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**shape, "num_key_value_heads": queries}))
    return folder


def test_a_group_that_loses_a_rank_trains_on_from_its_last_checkpoint(
    nodes: Nodes, tmp_path: Path
) -> None:
    settings = [
        *nodes.placement,
        f"policy.model={with_even_heads(tmp_path / 'model')}",
        "trainer.kind=nemo_aligner",
        "placement.trainer.tensor_parallel=2",
        f"placement.trainer.python={PYTHON}",
    ]
    run = Run(tmp_path / "run", settings, 0)
    try:
        run.reach(2)
        os.kill(nodes.processes(RANK, 2)[1], signal.SIGKILL)
        run.note(killed="rank 1")
        output = run.finish()
        run.note(outcome="finished", trained_once=run.trained_once)
    finally:
        run.kill()
    assert run.trained_once, run.rollouts
    assert "a rank of the trainer ended: trainer-1 with exit code -9" in output
    assert "the trainer is started again from its last checkpoint (1 of 3)" in output
