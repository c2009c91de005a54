import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue

from wideseek_core import Config, ConfigError, DataError
from wideseek_core.runs import SERVICE_KEYS, check_resumed_config, plain, sole_writer, store_config


class Optimizer(Config):
    lr: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)


class Run(Config):
    steps: int | None = 4
    base_url: str = "http://127.0.0.1:8000/v1"
    optimizer: Optimizer = Optimizer()


def test_the_first_key_that_differs_is_named_with_both_values() -> None:
    changed = Run(optimizer=Optimizer(lr=2e-6))
    with pytest.raises(ConfigError, match=r"^optimizer\.lr was 1e-06, is 2e-06; use the old value"):
        check_resumed_config(Run(), changed)
    with pytest.raises(ConfigError, match=r"^optimizer\.betas was \[0\.9, 0\.999\], is \[0\.8, "):
        check_resumed_config(Run(), Run(optimizer=Optimizer(betas=(0.8, 0.999))))


def test_a_key_that_came_or_went_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^judge\.mode was absent, is \"strict\""):
        check_resumed_config({"a": 1}, {"a": 1, "judge": {"mode": "strict"}})
    with pytest.raises(ConfigError, match=r"^a was 1, is absent"):
        check_resumed_config({"a": 1}, {})
    with pytest.raises(ConfigError, match=r"^a was null, is absent"):
        check_resumed_config({"a": None}, {})


@pytest.mark.parametrize("resumable", [{"optimizer"}, {"optimizer.lr"}, {"*.lr"}])
def test_resumable_keys_may_change(resumable: set[str]) -> None:
    check_resumed_config(Run(), Run(optimizer=Optimizer(lr=1.0)), resumable)


def test_a_key_that_only_begins_like_a_resumable_one_may_not_change() -> None:
    with pytest.raises(ConfigError, match=r"^steps_done was 1, is 2"):
        check_resumed_config({"steps_done": 1}, {"steps_done": 2}, {"steps"})


def test_where_a_service_is_and_how_it_is_asked_may_change() -> None:
    def settings(base_url: str, max_concurrent: int, model: str) -> dict[str, JsonValue]:
        policy: dict[str, JsonValue] = {"base_url": base_url, "model": model}
        return {"policy": policy | {"max_concurrent": max_concurrent}, "timeout_s": max_concurrent}

    check_resumed_config(settings("http://a", 8, "m"), settings("http://b", 64, "m"), SERVICE_KEYS)
    check_resumed_config({}, {"judge": {"price": {"prompt": 1.0}}}, SERVICE_KEYS)
    with pytest.raises(ConfigError, match=r"^policy\.model was"):
        check_resumed_config(
            settings("http://a", 8, "m"), settings("http://a", 8, "n"), SERVICE_KEYS
        )


def test_a_stored_config_is_compared_when_resuming_and_then_replaced(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    store_config(path, Run(), resuming=False)
    with pytest.raises(ConfigError, match=r"config\.json: steps was 4, is 5"):
        store_config(path, Run(steps=5), resuming=True)
    store_config(path, Run(steps=5), resuming=True, resumable_keys={"steps"})
    assert json.loads(path.read_text())["steps"] == 5
    store_config(path, Run(steps=5), resuming=True)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": "\\ud83d', "1" * 5000])
def test_a_damaged_config_is_named_by_its_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"config\.json: "):
        store_config(path, Run(), resuming=True)


def test_secrets_inside_addresses_are_not_stored_and_do_not_hinder_resuming(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    settings: dict[str, JsonValue] = {
        "policy": {"base_url": "http://someone:hunter22@127.0.0.1:1/v1", "model": "m"},
        "base_urls": ["https://models.example/v1?api_key=hunter33", "https://models.example/v1"],
    }
    store_config(path, settings, resuming=False)
    store_config(path, settings, resuming=True)
    text = path.read_text()
    assert "hunter" not in text
    assert "someone" not in text
    assert "127.0.0.1:1/v1" in text
    assert '"https://models.example/v1"' in text


def test_only_one_process_writes_to_a_folder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from wideseek_core.runs import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(ConfigError, match="another process is writing"), sole_writer(tmp_path):
            pass
        other.kill()
    with sole_writer(tmp_path):
        pass


def test_passwords_are_left_out_of_addresses_inside_a_text() -> None:
    given: dict[str, JsonValue] = {"settings": ["kind=http", "url=http://me:hunter22@a.example/x"]}
    assert plain(given) == {"settings": ["kind=http", "url=http://[redacted]@a.example/x"]}
