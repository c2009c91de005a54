"""Every configuration that the tree holds can be used as its first lines say."""

import re
from pathlib import Path

import pytest
import yaml

from wideseek_apps.main import main
from wideseek_apps.training_config import TrainConfig
from wideseek_core.config import load_config
from wideseek_data.teaching.listing import Listing
from wideseek_tools.server.config import ServeConfig

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
MODELS = ("policy.model={}", "policy.tokenizer={}")
DATA = ("data.path=tasks.jsonl", "evaluation.data.path=dev.jsonl")
JUDGE = ("judge_policy.tokenizer={}", "summarizer.tokenizer={}")
SMOLLM2 = (MODELS[0], "policy.adapter=null", "world={{kind: atlas}}")
FOLDER = "sources=[{{kind: folder, path: {}}}]"
BASE, OFFLINE = "train/qwen3_4b.yaml", "offline.yaml"

COMMANDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "base training": ("train", (BASE, OFFLINE), (MODELS[0], *DATA)),
    "hybrid training": (
        "train",
        (BASE, "train/hybrid.yaml", OFFLINE),
        (MODELS[0], "data.path=[width.jsonl, depth.jsonl]", DATA[1]),
    ),
    "training with a local judge": (
        "train",
        (BASE, "train/local_judge.yaml", OFFLINE),
        (MODELS[0], *JUDGE, *DATA),
    ),
    "training beside a fixed second role": (
        "train",
        (BASE, "train/fixed_subagents.yaml", OFFLINE),
        (MODELS[0], *DATA),
    ),
    **{
        f"{gpus} GPUs": ("train", (BASE, f"cluster/qwen3_4b_{gpus}gpu.yaml"), ())
        for gpus in (8, 16, 64)
    },
    **{
        f"{name} on 8 GPUs": (
            "train",
            (BASE, "cluster/qwen3_4b_8gpu.yaml", f"cluster/{name}.yaml"),
            (),
        )
        for name in ("single_agent", "local_judge", "lead_alone")
    },
    "single agent": ("train", ("train/single_agent.yaml",), ()),
    "NeMo-Aligner": ("train", ("train/nemo_aligner.yaml",), ()),
    "base evaluation": ("widesearch", ("evaluate/base.yaml", OFFLINE), (MODELS[0], DATA[0])),
    "evaluation with a local judge": (
        "widesearch",
        ("evaluate/base.yaml", "evaluate/local_judge.yaml", OFFLINE),
        (MODELS[0], *JUDGE, DATA[0]),
    ),
    "WideSearch": ("widesearch", ("evaluate/widesearch.yaml",), (MODELS[1],)),
    "QA": ("qa", ("evaluate/qa.yaml", OFFLINE), (MODELS[1], DATA[0])),
    "QA with two models": (
        "qa",
        ("evaluate/qa.yaml", "evaluate/qa_two_models.yaml", OFFLINE),
        (MODELS[1], "subagent_policy.tokenizer={}", DATA[0]),
    ),
    "an endpoint": ("widesearch", ("endpoint.yaml",), ()),
    "the web": ("ask", ("endpoint.yaml", "web.yaml"), ("question=Which?",)),
    "the start policy": ("sft", ("start_policy.yaml",), ()),
    "SmolLM2's start": (
        "sft",
        ("sft_smollm2.yaml",),
        ("parent=null", "sft.lora=null", "demos.listings={}/listings.jsonl"),
    ),
    "SmolLM2": ("train", ("train/smollm2.yaml",), SMOLLM2),
    "SmolLM2 and vLLM": ("train", ("train/smollm2.yaml", "engine/vllm.yaml"), SMOLLM2),
    "SmolLM2 and vLLM, a GPU and two processes": (
        "train",
        ("train/smollm2.yaml", "engine/vllm.yaml", "cluster/one_gpu.yaml"),
        SMOLLM2,
    ),
    "SmolLM2 and vLLM, two GPUs": (
        "train",
        ("train/smollm2.yaml", "engine/vllm.yaml", "cluster/two_gpus.yaml"),
        SMOLLM2,
    ),
    "SmolLM2 and SGLang": ("train", ("train/smollm2.yaml", "engine/sglang.yaml"), SMOLLM2),
    "tasks of a folder": ("data build", ("data/moons.yaml",), (FOLDER,)),
    "tasks of a page store": ("data build", ("data/wikitables.yaml",), (FOLDER,)),
}
"""Sub-command, files, and the settings that only a user knows; `{}` is a model's folder."""


LISTING = Listing(
    id="a", title="Neptune", section="Moons", key="Moon", columns=(), rows=(), url="u", pages=()
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_configuration_passes_the_checks(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in ("OPENAI_API_KEY", "SERPER_API_KEY", "JINA_API_KEY"):
        monkeypatch.setenv(variable, "key-of-a-test")
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / file).write_text("{}")
    (tmp_path / "listings.jsonl").write_text(f"{LISTING.model_dump_json()}\n")
    command, files, settings = COMMANDS[name]
    paths = [str(CONFIGS / file) for file in files]
    main([*command.split(), *paths, *(text.format(tmp_path) for text in settings), "--dry-run"])
    shown = capsys.readouterr().out
    assert shown.startswith("# Nothing was run.")
    assert "key-of-a-test" not in shown


def test_every_configuration_is_tried() -> None:
    tried = {CONFIGS / file for _, files, _ in COMMANDS.values() for file in files}
    assert {*CONFIGS.rglob("*.yaml")} - tried == {CONFIGS / "serve.yaml"}


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_recipe_that_says_how_long_it_is_takes_as_long(path: Path) -> None:
    given = yaml.safe_load(path.read_text("utf-8")).get("rl", {})
    if given.keys() & {"steps", "epochs"}:
        # By default a run ends after ten minutes on a laptop.
        assert given.get("max_seconds", TrainConfig().rl.max_seconds) is None


def test_the_retrieval_server_listens_where_it_is_asked() -> None:
    served = load_config(ServeConfig, [str(CONFIGS / "serve.yaml")])
    addresses = re.findall(r"http://127.0.0.1:(\d+)", (CONFIGS / OFFLINE).read_text())
    assert addresses == [str(served.port)] * 2
